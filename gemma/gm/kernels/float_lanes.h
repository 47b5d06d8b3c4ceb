// Sixteen floats that stay in registers while products add up.
//
// The lanes of lanes.h, but for AVX2, where compilers keep an array of sixteen floats in
// memory, at a third of the speed. Numbers of 16 bits are widened as they are loaded.
#pragma once

#include "number.h"
#include "lanes.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace gemma::GEMMA_TARGET {

#if defined(__AVX2__) && !defined(__AVX512VNNI__)

struct FloatLanes {
  __m256 low, high;
};

inline FloatLanes Zeros() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline FloatLanes AddProduct(FloatLanes sum, FloatLanes a, FloatLanes b) {
  return {_mm256_fmadd_ps(a.low, b.low, sum.low),
          _mm256_fmadd_ps(a.high, b.high, sum.high)};
}

inline __m256 LoadEight(const float* p) { return _mm256_loadu_ps(p); }
inline __m256 LoadEight(const Half* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline __m256 LoadEight(const Brain* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
template <typename Stored>
inline FloatLanes LoadFloats(const Stored* p) {
  return {LoadEight(p), LoadEight(p + 8)};
}
template <typename Stored>
inline FloatLanes LoadFloats(const Stored* p, int64_t count) {
  Stored some[16] = {};
  std::memcpy(some, p, count * sizeof(Stored));
  return LoadFloats(some);
}

// In the order of `Sum`.
inline float SumFloats(FloatLanes x) {
  const __m256 eight = _mm256_add_ps(x.low, x.high);
  const __m128 four =
      _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

#else

using FloatLanes = Lanes;

inline FloatLanes Zeros() { return Splat(0.0f); }
inline FloatLanes AddProduct(const Lanes& sum, const Lanes& a, const Lanes& b) {
  return MultiplyAdd(a, b, sum);
}
template <typename Stored>
inline FloatLanes LoadFloats(const Stored* p) {
  return Load(p);
}
// The first `count` of sixteen; the others are 0, and not read.
template <typename Stored>
inline FloatLanes LoadFloats(const Stored* p, int64_t count) {
  return LoadSome(p, count);
}
inline float SumFloats(const FloatLanes& x) { return Sum(x); }

#endif

}  // namespace gemma::GEMMA_TARGET
