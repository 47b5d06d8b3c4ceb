// Four floats in a register of any processor: what the compiler's vector extensions do not
// say.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "number.h"
#include "vector.h"

#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace gemma::GEMMA_TARGET {

inline Vector MultiplyAdd(Vector a, Vector b, Vector c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  for (int i = 0; i < kWidth; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return c;
#else
  return a * b + c;
#endif
}
inline Vector SquareRoot(Vector x) {
  for (int i = 0; i < kWidth; ++i) x[i] = std::sqrt(x[i]);
  return x;
}

// Four numbers as integers.
template <typename Byte>
inline Integers ToIntegers(const Byte* p) {
  return Integers{p[0], p[1], p[2], p[3]};
}
// Those of four numbers of 16 bits.
template <typename Stored>
inline Integers Bits(const Stored* p) {
  return Integers{p[0].bits, p[1].bits, p[2].bits, p[3].bits};
}

// Exact for every half: a float has room for all of them. Masks and no branches.
inline Vector Widen(const Half* p) {
#if defined(__ARM_NEON)
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&p->bits)));
#else
  const Integers bits = Bits(p), magnitude = bits & 0x7FFF;
  const Integers is_small = magnitude < 0x400;
  const Integers is_infinite_or_nan = magnitude > 0x7BFF;
  const Integers normal =
      ((magnitude << 13) + (112 << 23)) | (is_infinite_or_nan & 0x7F800000);
  // Zero and subnormals are multiples of 2^-24.
  const Vector multiple = __builtin_convertvector(magnitude, Vector) * 0x1p-24f;
  return (Vector)(((Integers)multiple & is_small) | (normal & ~is_small) |
                  (bits & 0x8000) << 16);
#endif
}
inline Vector Widen(const Brain* p) {
  return (Vector)(Bits(p) << 16);
}
inline Vector Widen(const uint8_t* p) {
  return __builtin_convertvector(ToIntegers(p), Vector);
}
inline Vector Widen(const int8_t* p) {
  return __builtin_convertvector(ToIntegers(p), Vector);
}

// To the nearest, ties to even, of numbers of at most `kLargestHalf`; NaN stays.
inline Half ToHalf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  if (x != x) return {static_cast<uint16_t>(sign | 0x7E00)};
  const float magnitude = std::fabs(x);
  if (magnitude < 0x1p-14f) {
    // A multiple of 2^-24; the addition leaves no bits for a fraction.
    const float shifted = magnitude + 0x1p-1f;
    std::memcpy(&bits, &shifted, 4);
    return {static_cast<uint16_t>(sign | (bits & 0x7FFF))};
  }
  std::memcpy(&bits, &magnitude, 4);
  const uint32_t rounded = (bits + 0xFFF + (bits >> 13 & 1)) >> 13;
  return {static_cast<uint16_t>(sign | (rounded - ((127 - 15) << 10)))};
}
inline void Narrow(Vector x, Half* p) {
  for (int i = 0; i < kWidth; ++i) p[i] = ToHalf(x[i]);
}
// As float16, rounded up, of numbers from 0 to `kLargestHalf`.
inline Half ToHalfAtLeast(float x) {
  if (x < 0x1p-14f) return {static_cast<uint16_t>(std::ceil(x * 0x1p24f))};
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return {static_cast<uint16_t>(((bits + 0x1FFF) >> 13) - ((127 - 15) << 10))};
}
inline void NarrowAtLeast(Vector x, Half* p) {
  for (int i = 0; i < kWidth; ++i) p[i] = ToHalfAtLeast(x[i]);
}

// Rounds numbers of at most 127 to bytes and returns the sum of these. NaN counts as 0.
inline int32_t StoreBytes(int8_t* p, Vector x) {
  const Vector whole = Round(x);
  int32_t sum = 0;
  for (int i = 0; i < kWidth; ++i) {
    p[i] = whole[i] == whole[i] ? static_cast<int8_t>(whole[i]) : 0;
    sum += p[i];
  }
  return sum;
}

// Lane i is the sum of x[i] in the order of `Sum`.
inline Vector SumEach(const Vector (&x)[kWidth]) {
  Vector sums;
  for (int i = 0; i < kWidth; ++i) sums[i] = (x[i][0] + x[i][2]) + (x[i][1] + x[i][3]);
  return sums;
}

// Shorts with the sum of two products of neighbours each; and sums with two of these added.
inline Shorts MultiplyPairs(Bytes w, Integers x) {
  const Shorts even = (Shorts)x << 8 >> 8, odd = (Shorts)x >> 8;
  return ((Shorts)w & 0xFF) * even + ((Shorts)w >> 8 & 0xFF) * odd;
}
inline Integers AddPairs(Integers sum, Shorts x) {
  return sum + ((Integers)x << 16 >> 16) + ((Integers)x >> 16);
}
inline Bytes LookUp(const uint8_t* levels, Bytes index) {
  for (int i = 0; i < 4 * kWidth; ++i) index[i] = levels[index[i]];
  return index;
}

}  // namespace gemma::GEMMA_TARGET
