// Four columns of a tile in several registers, and their dot products.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "lanes.h"
#include "weight.h"

namespace gemma::GEMMA_TARGET {

// The unsigned weights of one step: four columns of `kWidth` rows in each part.
struct Step {
  Bytes part[kParts];
};
struct Sums {
  Integers part[kParts];
};

inline Step LoadStep(const uint8_t* p) {
  return Each<Step>([&](size_t i) {
    Bytes part;
    std::memcpy(&part, p + i * sizeof part, sizeof part);
    return part;
  });
}
inline void StoreIntegers(uint8_t* p, const Sums& x) {
  for (const Integers& part : x.part) {
    std::memcpy(p, &part, sizeof part);
    p += sizeof part;
  }
}
inline Step LowNibbles(const Step& x) {
  return Each<Step>([&](size_t i) { return x.part[i] & 0x0F; });
}
inline Step HighNibbles(const Step& x) {
  return Each<Step>([&](size_t i) { return (Bytes)((Shorts)x.part[i] >> 4) & 0x0F; });
}
// low | (bits [from, from + count) of each byte of `plane`) << 4.
template <int kFrom, int kCount>
inline Step WithHighBits(const Step& low, const Step& plane) {
  constexpr uint8_t kMask = ((1 << kCount) - 1) << 4;
  return Each<Step>([&](size_t i) {
    const Shorts bits = (Shorts)plane.part[i];
    const Shorts moved = kFrom <= 4 ? bits << (4 - kFrom) : bits >> (kFrom - 4);
    return low.part[i] | ((Bytes)moved & kMask);
  });
}
inline Step LookUp(const uint8_t* levels, const Step& index) {
  return Each<Step>([&](size_t i) { return LookUp(levels, index.part[i]); });
}

inline Lanes ToFloat(const Sums& x) {
  return Each([&](size_t i) { return __builtin_convertvector(x.part[i], Vector); });
}
// Column i of the four as floats.
inline Lanes Column(const Step& x, int column) {
  return ToFloat(Each<Sums>(
      [&](size_t i) { return (Integers)x.part[i] >> (8 * column) & 0xFF; }));
}
// a | (x cut off to an integer) << shift.
inline Sums OrShifted(const Sums& a, const Lanes& x, int shift) {
  return Each<Sums>([&](size_t i) {
    return a.part[i] | __builtin_convertvector(x.part[i], Integers) << shift;
  });
}
inline Sums SplatInteger(int32_t x) {
  return Each<Sums>([&](size_t) { return x + Integers{}; });
}

// Four columns of activations, for all lanes.
inline Integers LoadFour(const int8_t* columns) {
  int32_t four;
  std::memcpy(&four, columns, 4);
  return four + Integers{};
}

// How much of a product is made at once of many rows: what is loaded serves all of it.
constexpr int kTilesAtOnce = 1, kRowsAtOnce = kWidth == 8 ? 4 : 2;
// As many rows as this, whose number is known, are made at once by one tile.
constexpr int kFewRowsAtOnce = kRowsAtOnce;

// `DotSteps` of weights of at most six bits.
//
// Two products of bytes are added as a number of 16 bits. As many steps are added up before
// they are widened as surely have room.
template <int kLargest, int kBegin, int kEnd, int kRows, int kTiles>
inline void DotNarrowSteps(const Step* const (&q)[kTiles], const int8_t* xq,
                           Sums (&sums)[kRows][kTiles]) {
  struct Pairs {
    Shorts part[kParts];
  };
  constexpr int kRoom = 32767 / (2 * 127 * kLargest);
  constexpr int kAtOnce = std::min(kRoom, kEnd - kBegin);
  static_assert(kAtOnce > 0 && (kEnd - kBegin) % kAtOnce == 0);
#pragma GCC unroll 8
  for (int first = kBegin; first < kEnd; first += kAtOnce) {
    Pairs pairs[kRows][kTiles];
    const auto add_step = [&](int s, bool is_first) {
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const Integers four = LoadFour(xq + r * kGroup + 4 * s);
#pragma GCC unroll 8
        for (int t = 0; t < kTiles; ++t) {
          pairs[r][t] = Each<Pairs>([&](size_t i) {
            const Shorts products = MultiplyPairs(q[t][s].part[i], four);
            return is_first ? products : pairs[r][t].part[i] + products;
          });
        }
      }
    };
    add_step(first, true);
    // Of several rows the compiler would load more ahead than there are registers for.
    if constexpr (kRows <= 2) {
#pragma GCC unroll 8
      for (int s = first + 1; s < first + kAtOnce; ++s) add_step(s, false);
    } else {
#pragma GCC unroll 1
      for (int s = first + 1; s < first + kAtOnce; ++s) add_step(s, false);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int t = 0; t < kTiles; ++t) {
        sums[r][t] = Each<Sums>([&](size_t i) {
          return AddPairs(sums[r][t].part[i], pairs[r][t].part[i]);
        });
      }
    }
  }
}

// sums[r][t] += the dot product of steps [kBegin, kEnd) of tile t and row r, whose
// activations lie a group behind those of the row before. kLargest bounds the weights.
template <int kLargest, int kBegin, int kEnd, int kRows, int kTiles>
inline void DotSteps(const Step* const (&q)[kTiles], const int8_t* xq,
                     Sums (&sums)[kRows][kTiles]) {
  if constexpr (kLargest <= 63) {
    DotNarrowSteps<kLargest, kBegin, kEnd>(q, xq, sums);
  } else {
    // The low four bits, and sixteen times the high ones.
    Step low[kTiles][kSteps], high[kTiles][kSteps];
    const Step* lows[kTiles];
    const Step* highs[kTiles];
    Sums sixteenths[kRows][kTiles];
    for (int t = 0; t < kTiles; ++t) {
#pragma GCC unroll 8
      for (int s = kBegin; s < kEnd; ++s) {
        low[t][s] = LowNibbles(q[t][s]);
        high[t][s] = HighNibbles(q[t][s]);
      }
      lows[t] = low[t];
      highs[t] = high[t];
      for (int r = 0; r < kRows; ++r) sixteenths[r][t] = SplatInteger(0);
    }
    DotNarrowSteps<15, kBegin, kEnd>(lows, xq, sums);
    DotNarrowSteps<15, kBegin, kEnd>(highs, xq, sixteenths);
    for (int r = 0; r < kRows; ++r) {
      for (int t = 0; t < kTiles; ++t) {
        sums[r][t] = Each<Sums>([&](size_t i) {
          return sums[r][t].part[i] + (sixteenths[r][t].part[i] << 4);
        });
      }
    }
  }
}

}  // namespace gemma::GEMMA_TARGET
