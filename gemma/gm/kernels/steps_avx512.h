// Four columns of a tile, one register of AVX-512, and their dot products.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "lanes.h"
#include "weight.h"

namespace gemma::GEMMA_TARGET {

// The unsigned weights of one step: four columns of sixteen rows.
using Step = __m512i;
using Sums = __m512i;

inline Step LoadStep(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline Step LowNibbles(Step x) { return _mm512_and_si512(x, _mm512_set1_epi8(0x0F)); }
inline Step HighNibbles(Step x) { return LowNibbles(_mm512_srli_epi16(x, 4)); }
// low | (bits [from, from + count) of each byte of `plane`) << 4.
template <int kFrom, int kCount>
inline Step WithHighBits(Step low, Step plane) {
  constexpr int kShift = 4 - kFrom;
  const __m512i moved = kShift >= 0 ? _mm512_slli_epi16(plane, kShift >= 0 ? kShift : 0)
                                    : _mm512_srli_epi16(plane, kShift < 0 ? -kShift : 0);
  const __m512i mask = _mm512_set1_epi8(static_cast<char>(((1 << kCount) - 1) << 4));
  return _mm512_or_si512(low, _mm512_and_si512(moved, mask));
}
inline Step LookUp(const uint8_t* levels, Step index) {
  const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(levels));
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), index);
}

// Column i of the four as floats.
inline Lanes Column(Step x, int i) {
  const __m512i moved = _mm512_srli_epi32(x, 8 * i);
  return _mm512_cvtepi32_ps(_mm512_and_si512(moved, _mm512_set1_epi32(0xFF)));
}

inline Sums SplatInteger(int32_t x) { return _mm512_set1_epi32(x); }
// Four columns of activations, for all lanes.
using Four = __m512i;
inline Four LoadFour(const int8_t* columns) {
  int32_t four;
  std::memcpy(&four, columns, 4);
  return _mm512_set1_epi32(four);
}
inline Sums DotAdd(Sums sum, Step q, Four four) {
  return _mm512_dpbusd_epi32(sum, q, four);
}
inline Lanes ToFloat(Sums sum) { return _mm512_cvtepi32_ps(sum); }
// a | (x cut off to an integer) << shift.
inline Sums OrShifted(Sums a, Lanes x, int shift) {
  return _mm512_or_si512(a, _mm512_slli_epi32(_mm512_cvttps_epi32(x), shift));
}
inline void StoreIntegers(uint8_t* p, Sums x) { _mm512_storeu_si512(p, x); }

// How much of a product is made at once of many rows: what is loaded serves all of it.
constexpr int kTilesAtOnce = 2, kRowsAtOnce = 1;
// As many rows as this, whose number is known, are made at once by one tile.
constexpr int kFewRowsAtOnce = 8;

// sums[r][t] += the dot product of steps [kBegin, kEnd) of tile t and row r, whose
// activations lie a group behind those of the row before. kLargest bounds the weights.
template <int kLargest, int kBegin, int kEnd, int kRows, int kTiles>
inline void DotSteps(const Step* const (&q)[kTiles], const int8_t* xq,
                     Sums (&sums)[kRows][kTiles]) {
  for (int s = kBegin; s < kEnd; ++s) {
    for (int r = 0; r < kRows; ++r) {
      const Four four = LoadFour(xq + r * kGroup + 4 * s);
      for (int t = 0; t < kTiles; ++t) sums[r][t] = DotAdd(sums[r][t], q[t][s], four);
    }
  }
}

}  // namespace gemma::GEMMA_TARGET
