// Eight floats in a register of AVX2: what the compiler's vector extensions do not say.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "number.h"
#include "vector.h"

namespace gemma::GEMMA_TARGET {

inline Vector MultiplyAdd(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
inline Vector SquareRoot(Vector x) { return _mm256_sqrt_ps(x); }

inline Vector Widen(const Half* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline Vector Widen(const Brain* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline Vector Widen(const uint8_t* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
}
inline Vector Widen(const int8_t* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}
// To the nearest, ties to even, of numbers of at most `kLargestHalf`; NaN stays.
inline void Narrow(Vector x, Half* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
// As float16, rounded up.
inline void NarrowAtLeast(Vector x, Half* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph(x, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC));
}
// Rounds numbers of at most 127 to bytes and returns the sum of these. NaN counts as 0.
inline int32_t StoreBytes(int8_t* p, Vector x) {
  const Vector numbers = _mm256_and_ps(x, _mm256_cmp_ps(x, x, _CMP_ORD_Q));
  const __m256i whole = _mm256_cvtps_epi32(numbers);
  const __m128i words =
      _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
  const __m128i pairs = _mm_madd_epi16(words, _mm_set1_epi16(1));
  const __m128i halves = _mm_add_epi32(pairs, _mm_unpackhi_epi64(pairs, pairs));
  return _mm_cvtsi128_si32(halves) + _mm_extract_epi32(halves, 1);
}

// Lane i is the sum of x[i] in the order of `Sum`.
inline Vector SumEach(const Vector (&x)[kWidth]) {
  Vector fours[4], twos[2];
  for (int i = 0; i < 4; ++i) {
    fours[i] = _mm256_permute2f128_ps(x[i], x[i + 4], 0x20) +
               _mm256_permute2f128_ps(x[i], x[i + 4], 0x31);
  }
  for (int i = 0; i < 2; ++i) {
    twos[i] = _mm256_shuffle_ps(fours[2 * i], fours[2 * i + 1], 0x44) +
              _mm256_shuffle_ps(fours[2 * i], fours[2 * i + 1], 0xEE);
  }
  return _mm256_shuffle_ps(twos[0], twos[1], 0x88) +
         _mm256_shuffle_ps(twos[0], twos[1], 0xDD);
}

// Shorts with the sum of two products of neighbours each, cut off to what has room; and
// sums with two of these added.
inline Shorts MultiplyPairs(Bytes w, Integers x) {
  return (Shorts)_mm256_maddubs_epi16((__m256i)w, (__m256i)x);
}
inline Integers AddPairs(Integers sum, Shorts x) {
  return sum + (Integers)_mm256_madd_epi16((__m256i)x, _mm256_set1_epi16(1));
}
inline Bytes LookUp(const uint8_t* levels, Bytes index) {
  const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(levels));
  return (Bytes)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), (__m256i)index);
}

}  // namespace gemma::GEMMA_TARGET
