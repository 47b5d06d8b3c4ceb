// Sixteen floats in a register of AVX-512.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "number.h"

namespace gemma::GEMMA_TARGET {

using Lanes = __m512;
using Vector = Lanes;
constexpr int kWidth = 16;

// Lanes of sums that registers hold beside what they are made of.
constexpr int kSumsAtOnce = 16;

inline Lanes Splat(float x) { return _mm512_set1_ps(x); }
inline Lanes Add(Lanes a, Lanes b) { return _mm512_add_ps(a, b); }
inline Lanes Subtract(Lanes a, Lanes b) { return _mm512_sub_ps(a, b); }
inline Lanes Multiply(Lanes a, Lanes b) { return _mm512_mul_ps(a, b); }
inline Lanes MultiplyAdd(Lanes a, Lanes b, Lanes c) { return _mm512_fmadd_ps(a, b, c); }
inline Lanes Divide(Lanes a, Lanes b) { return _mm512_div_ps(a, b); }
inline Lanes SquareRoot(Lanes a) { return _mm512_sqrt_ps(a); }
inline Lanes Max(Lanes a, Lanes b) { return _mm512_max_ps(a, b); }
inline Lanes Min(Lanes a, Lanes b) { return _mm512_min_ps(a, b); }
inline Lanes Round(Lanes a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// x * 2^n for whole n from -126 to 127.
inline Lanes Scale(Lanes x, Lanes n) { return _mm512_scalef_ps(x, n); }

// `x` where low <= at <= high, elsewhere `otherwise`.
inline Lanes Between(Lanes low, Lanes at, Lanes high, Lanes x, Lanes otherwise) {
  const __mmask16 inside = _mm512_cmp_ps_mask(low, at, _CMP_LE_OQ) &
                           _mm512_cmp_ps_mask(at, high, _CMP_LE_OQ);
  return _mm512_mask_blend_ps(inside, otherwise, x);
}
// `x` in the lanes whose bit is set, elsewhere `otherwise`.
inline Lanes Chosen(uint32_t bits, Lanes x, Lanes otherwise) {
  return _mm512_mask_blend_ps(static_cast<__mmask16>(bits), otherwise, x);
}

inline Lanes Load(const float* p) { return _mm512_loadu_ps(p); }
inline void Store(float* p, Lanes x) { _mm512_storeu_ps(p, x); }
inline __mmask16 First(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xFFFF : (1u << count) - 1);
}
// The first `count` lanes; the others are 0, and not read or written.
inline Lanes LoadSome(const float* p, int64_t count) {
  return _mm512_maskz_loadu_ps(First(count), p);
}
inline void StoreSome(float* p, Lanes x, int64_t count) {
  _mm512_mask_storeu_ps(p, First(count), x);
}
inline Lanes LoadHalves(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
// As float16, rounded up.
inline void StoreHalvesAtLeast(uint8_t* p, Lanes x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(x, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC));
}
inline Lanes Load(const Half* p) { return _mm512_cvtph_ps(_mm256_loadu_epi16(p)); }
inline Lanes LoadSome(const Half* p, int64_t count) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(First(count), p));
}
// To the nearest. Of what is too large for a half, the largest; NaN stays.
inline void StoreSome(Half* p, Lanes x, int64_t count) {
  const Lanes largest = _mm512_set1_ps(kLargestHalf);
  x = _mm512_max_ps(_mm512_sub_ps(_mm512_setzero_ps(), largest), _mm512_min_ps(largest, x));
  _mm256_mask_storeu_epi16(
      p, First(count), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline Lanes WidenBrains(__m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline Lanes Load(const Brain* p) { return WidenBrains(_mm256_loadu_epi16(p)); }
inline Lanes LoadSome(const Brain* p, int64_t count) {
  return WidenBrains(_mm256_maskz_loadu_epi16(First(count), p));
}
inline Lanes LoadUnsigned(const uint8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
}
inline Lanes LoadSigned(const uint8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}
template <typename Stored>
inline Vector Widen(const Stored* p) { return Load(p); }
inline void SetPart(Lanes& x, int, Vector part) { x = part; }

// Rounds numbers of at most 127 to bytes and returns the sum of these. NaN counts as 0.
inline int32_t StoreBytes(int8_t* p, Lanes x) {
  const __mmask16 is_number = _mm512_cmp_ps_mask(x, x, _CMP_ORD_Q);
  const __m512i whole = _mm512_maskz_cvtps_epi32(is_number, x);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(whole));
  return _mm512_reduce_add_epi32(whole);
}

inline float Sum(Lanes x) {
  const __m256 eight =
      _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const __m128 four =
      _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
// Lane i is `Sum(x[i])`. Each level adds halves of what is left of four or two vectors.
inline Lanes SumEach(const Lanes (&x)[16]) {
  Lanes eights[8], fours[4];
  for (int i = 0; i < 8; ++i) {
    // Lanes go where the last level finds them in their order.
    const Lanes a = x[i / 2 + i % 2 * 8], b = x[i / 2 + i % 2 * 8 + 4];
    eights[i] = Add(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
  }
  for (int i = 0; i < 4; ++i) {
    const Lanes a = eights[2 * i], b = eights[2 * i + 1];
    fours[i] = Add(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
  }
  const auto twos = [&](int i) {
    return Add(_mm512_shuffle_ps(fours[i], fours[i + 1], 0x44),
               _mm512_shuffle_ps(fours[i], fours[i + 1], 0xEE));
  };
  const Lanes a = twos(0), b = twos(2);
  return Add(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xDD));
}
inline float Largest(Lanes x) { return _mm512_reduce_max_ps(x); }
// The largest absolute value among both; NaN if there is one: floats without their sign
// order like their bits, and NaN comes last.
inline float LargestMagnitude(Lanes a, Lanes b) {
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  const int32_t bits = _mm512_reduce_max_epi32(
      _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(a), magnitude),
                       _mm512_and_si512(_mm512_castps_si512(b), magnitude)));
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(bits)));
}

}  // namespace gemma::GEMMA_TARGET
