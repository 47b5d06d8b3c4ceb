// Sixteen floats at a time, and what is done to them.
//
// Included by the files that are compiled for one instruction set, into its namespace: a
// 512-bit register with AVX-512, elsewhere an array and plain loops, which compilers turn
// into what there is. Sums across lanes add in the same order everywhere.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "number.h"
#include "weight.h"

#if defined(__AVX512VNNI__)
#include <immintrin.h>
#endif

namespace gemma::GEMMA_TARGET {

constexpr float kLargestHalf = 65504.0f;

#if defined(__AVX512VNNI__)

using Lanes = __m512;

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

#else

struct Lanes {
  float x[16];
};

template <typename Function>
inline Lanes Each(Function function) {
  Lanes out;
  for (int i = 0; i < 16; ++i) out.x[i] = function(i);
  return out;
}

inline Lanes Splat(float x) {
  return Each([&](int) { return x; });
}
inline Lanes Add(const Lanes& a, const Lanes& b) {
  return Each([&](int i) { return a.x[i] + b.x[i]; });
}
inline Lanes Subtract(const Lanes& a, const Lanes& b) {
  return Each([&](int i) { return a.x[i] - b.x[i]; });
}
inline Lanes Multiply(const Lanes& a, const Lanes& b) {
  return Each([&](int i) { return a.x[i] * b.x[i]; });
}
inline Lanes MultiplyAdd(const Lanes& a, const Lanes& b, const Lanes& c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return Each([&](int i) { return __builtin_fmaf(a.x[i], b.x[i], c.x[i]); });
#else
  return Each([&](int i) { return a.x[i] * b.x[i] + c.x[i]; });
#endif
}
inline Lanes Divide(const Lanes& a, const Lanes& b) {
  return Each([&](int i) { return a.x[i] / b.x[i]; });
}
inline Lanes SquareRoot(const Lanes& a) {
  return Each([&](int i) { return std::sqrt(a.x[i]); });
}
inline Lanes Max(const Lanes& a, const Lanes& b) {
  return Each([&](int i) { return a.x[i] > b.x[i] ? a.x[i] : b.x[i]; });
}
inline Lanes Min(const Lanes& a, const Lanes& b) {
  return Each([&](int i) { return a.x[i] < b.x[i] ? a.x[i] : b.x[i]; });
}
// Adding 1.5 * 2^23 leaves no bits for a fraction: to the nearest, ties to even, for
// numbers below 2^22.
inline Lanes Round(const Lanes& a) {
  constexpr float kShift = 12582912.0f;
  return Each([&](int i) { return (a.x[i] + kShift) - kShift; });
}
inline Lanes Scale(const Lanes& x, const Lanes& n) {
  return Each([&](int i) {
    const int32_t bits = (static_cast<int32_t>(n.x[i]) + 127) << 23;
    float power;
    std::memcpy(&power, &bits, 4);
    return x.x[i] * power;
  });
}

inline Lanes Between(const Lanes& low, const Lanes& at, const Lanes& high, const Lanes& x,
                     const Lanes& otherwise) {
  return Each([&](int i) {
    return low.x[i] <= at.x[i] && at.x[i] <= high.x[i] ? x.x[i] : otherwise.x[i];
  });
}
inline Lanes Chosen(uint32_t bits, const Lanes& x, const Lanes& otherwise) {
  return Each([&](int i) { return bits >> i & 1 ? x.x[i] : otherwise.x[i]; });
}

inline Lanes Load(const float* p) {
  return Each([&](int i) { return p[i]; });
}
inline void Store(float* p, const Lanes& x) { std::memcpy(p, x.x, sizeof x.x); }
inline Lanes LoadSome(const float* p, int64_t count) {
  return Each([&](int i) { return i < count ? p[i] : 0.0f; });
}
inline void StoreSome(float* p, const Lanes& x, int64_t count) {
  for (int i = 0; i < 16 && i < count; ++i) p[i] = x.x[i];
}
// Exact for every half: a float has room for all of them. Masks and no comparisons, so
// that compilers widen several at once.
inline float Widen(Half half) {
  const int32_t magnitude = half.bits & 0x7FFF;
  const int32_t is_small = (magnitude - 0x400) >> 31;
  const int32_t is_infinite_or_nan = (0x7BFF - magnitude) >> 31;
  const int32_t normal =
      ((magnitude << 13) + (112 << 23)) | (is_infinite_or_nan & 0x7F800000);
  // Zero and subnormals are multiples of 2^-24.
  const float multiple = static_cast<float>(magnitude) * 0x1p-24f;
  int32_t small;
  std::memcpy(&small, &multiple, 4);
  const int32_t bits =
      (small & is_small) | (normal & ~is_small) | (half.bits & 0x8000) << 16;
  float out;
  std::memcpy(&out, &bits, 4);
  return out;
}
inline float Widen(Brain brain) {
  const uint32_t bits = static_cast<uint32_t>(brain.bits) << 16;
  float out;
  std::memcpy(&out, &bits, 4);
  return out;
}
template <typename Stored>
inline Lanes Load(const Stored* p) {
  Lanes out;
  // Unrolled first, GCC would widen them one by one.
#pragma GCC unroll 1
  for (int i = 0; i < 16; ++i) out.x[i] = Widen(p[i]);
  return out;
}
template <typename Stored>
inline Lanes LoadSome(const Stored* p, int64_t count) {
  Stored some[16] = {};
  for (int i = 0; i < 16 && i < count; ++i) some[i] = p[i];
  return Load(some);
}
inline Lanes LoadHalves(const uint8_t* p) {
  Half halves[16];
  std::memcpy(halves, p, sizeof halves);
  return Load(halves);
}
// The nearest float16 at or above x, for x from 0 to 65504.
inline uint16_t HalfAtLeast(float x) {
  if (x < 0x1p-14f) return static_cast<uint16_t>(std::ceil(x * 0x1p24f));
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return static_cast<uint16_t>(((bits + 0x1FFF) >> 13) - ((127 - 15) << 10));
}
inline void StoreHalvesAtLeast(uint8_t* p, const Lanes& x) {
  for (int i = 0; i < 16; ++i) {
    const uint16_t half = HalfAtLeast(x.x[i]);
    std::memcpy(p + 2 * i, &half, 2);
  }
}
// To the nearest, ties to even; what is too large becomes the largest half, NaN stays.
inline Half Narrow(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  if (x != x) return {static_cast<uint16_t>(sign | 0x7E00)};
  const float magnitude = std::fmin(std::fabs(x), kLargestHalf);
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
inline void StoreSome(Half* p, const Lanes& x, int64_t count) {
  for (int i = 0; i < 16 && i < count; ++i) p[i] = Narrow(x.x[i]);
}
inline Lanes LoadUnsigned(const uint8_t* p) {
  return Each([&](int i) { return static_cast<float>(p[i]); });
}
inline Lanes LoadSigned(const uint8_t* p) {
  return Each([&](int i) { return static_cast<float>(static_cast<int8_t>(p[i])); });
}
inline int32_t StoreBytes(int8_t* p, const Lanes& x) {
  const Lanes whole = Round(x);
  int32_t sum = 0;
  for (int i = 0; i < 16; ++i) {
    p[i] = whole.x[i] == whole.x[i] ? static_cast<int8_t>(whole.x[i]) : 0;
    sum += p[i];
  }
  return sum;
}

inline float Sum(Lanes x) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) x.x[i] += x.x[i + width];
  }
  return x.x[0];
}
inline Lanes SumEach(const Lanes (&x)[16]) {
  return Each([&](int i) { return Sum(x[i]); });
}
inline float Largest(const Lanes& x) {
  float largest = x.x[0];
  for (float lane : x.x) largest = largest > lane ? largest : lane;
  return largest;
}
inline float LargestMagnitude(const Lanes& a, const Lanes& b) {
  int32_t largest = 0;
  for (int i = 0; i < 16; ++i) {
    int32_t bits[2];
    std::memcpy(&bits[0], &a.x[i], 4);
    std::memcpy(&bits[1], &b.x[i], 4);
    for (int32_t candidate : bits) {
      candidate &= 0x7FFFFFFF;
      largest = largest > candidate ? largest : candidate;
    }
  }
  float out;
  std::memcpy(&out, &largest, 4);
  return out;
}

#endif

inline constexpr float kLaneNumbers[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                           8, 9, 10, 11, 12, 13, 14, 15};

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
