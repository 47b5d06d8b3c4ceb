// Numbers that fill a register, by the vector extensions of GCC and Clang.
#pragma once

#include <cstdint>

namespace gemma::GEMMA_TARGET {

#if defined(__AVX2__)
constexpr int kWidth = 8;  // floats
#else
constexpr int kWidth = 4;
#endif

typedef float Vector __attribute__((vector_size(4 * kWidth)));
typedef int32_t Integers __attribute__((vector_size(4 * kWidth)));
typedef int16_t Shorts __attribute__((vector_size(4 * kWidth)));
typedef uint8_t Bytes __attribute__((vector_size(4 * kWidth)));

// Adding 1.5 * 2^23 leaves no bits for a fraction: to the nearest, ties to even, for
// numbers below 2^22.
inline Vector Round(Vector x) {
  constexpr float kShift = 12582912.0f;
  return (x + kShift) - kShift;
}

}  // namespace gemma::GEMMA_TARGET
