// Sixteen floats at a time, and what is done to them.
//
// Included by the files that are compiled for one instruction set, into its namespace. What
// is made of these operations has the same bits wherever products and sums are one
// operation: sums across lanes add in the same order everywhere.
#pragma once

#if defined(__AVX512VNNI__)
#include "lanes_avx512.h"
#else
#include "lanes_vectors.h"
#endif

namespace gemma::GEMMA_TARGET {

inline constexpr float kLaneNumbers[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                           8, 9, 10, 11, 12, 13, 14, 15};

// `x`, kept: compilers would rather read it from memory again for each use.
inline Vector InRegister(Vector x) {
#if defined(__x86_64__)
  asm("" : "+v"(x));
#elif defined(__aarch64__)
  asm("" : "+w"(x));
#endif
  return x;
}

// e^x for x of at most 88, to two units in the last place; 0 below -87.
//
// x = n log 2 + r with |r| <= log(2) / 2; e^r by its series to the seventh power, whose
// remainder is below 2^-27; log 2 in two parts, the first exact times n.
inline Lanes Exp(Lanes x) {
  x = Max(x, Splat(-87.0f));
  const Lanes n = Round(Multiply(x, Splat(1.44269504f)));
  Lanes r = MultiplyAdd(n, Splat(-0.693359375f), x);
  r = MultiplyAdd(n, Splat(2.12194440e-4f), r);
  Lanes sum = Splat(1.0f / 5040);
  for (float factor : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) {
    sum = MultiplyAdd(sum, r, Splat(factor));
  }
  return Scale(sum, n);
}

// cap * tanh(x / cap), by tanh(y) = 1 - 2 / (e^2y + 1).
inline Lanes Softcap(Lanes x, float cap) {
  const Lanes twice = Min(Multiply(x, Splat(2.0f / cap)), Splat(80.0f));
  const Lanes quotient = Divide(Splat(2.0f), Add(Exp(twice), Splat(1.0f)));
  return Multiply(Subtract(Splat(1.0f), quotient), Splat(cap));
}

}  // namespace gemma::GEMMA_TARGET
