// Sixteen floats in several registers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "number.h"
#if defined(__AVX2__)
#include "vector_avx2.h"
#else
#include "vector_portable.h"
#endif

namespace gemma::GEMMA_TARGET {

constexpr int kParts = 16 / kWidth;

struct Lanes {
  Vector part[kParts];
};

// Lanes of sums that registers hold beside what they are made of.
constexpr int kSumsAtOnce = kWidth / 2;

// Each part made by itself, its number known when this is compiled: an array that a loop
// goes through would lie in memory, at a third of the speed.
template <typename Parts, typename Function, size_t... I>
inline Parts EachOf(Function function, std::index_sequence<I...>) {
  return {{function(I)...}};
}
template <typename Parts = Lanes, typename Function>
inline Parts Each(Function function) {
  return EachOf<Parts>(function, std::make_index_sequence<kParts>());
}

inline Lanes Splat(float x) {
  return Each([&](size_t) { return x - Vector{}; });  // keeps the sign of 0
}
inline Lanes Add(const Lanes& a, const Lanes& b) {
  return Each([&](size_t i) { return a.part[i] + b.part[i]; });
}
inline Lanes Subtract(const Lanes& a, const Lanes& b) {
  return Each([&](size_t i) { return a.part[i] - b.part[i]; });
}
inline Lanes Multiply(const Lanes& a, const Lanes& b) {
  return Each([&](size_t i) { return a.part[i] * b.part[i]; });
}
inline Lanes MultiplyAdd(const Lanes& a, const Lanes& b, const Lanes& c) {
  return Each([&](size_t i) { return MultiplyAdd(a.part[i], b.part[i], c.part[i]); });
}
inline Lanes Divide(const Lanes& a, const Lanes& b) {
  return Each([&](size_t i) { return a.part[i] / b.part[i]; });
}
inline Lanes SquareRoot(const Lanes& a) {
  return Each([&](size_t i) { return SquareRoot(a.part[i]); });
}
inline Lanes Max(const Lanes& a, const Lanes& b) {
  return Each([&](size_t i) { return a.part[i] > b.part[i] ? a.part[i] : b.part[i]; });
}
inline Lanes Min(const Lanes& a, const Lanes& b) {
  return Each([&](size_t i) { return a.part[i] < b.part[i] ? a.part[i] : b.part[i]; });
}
inline Lanes Round(const Lanes& a) {
  return Each([&](size_t i) { return Round(a.part[i]); });
}
// x * 2^n for whole n from -126 to 127.
inline Lanes Scale(const Lanes& x, const Lanes& n) {
  return Each([&](size_t i) {
    const Integers bits = (__builtin_convertvector(n.part[i], Integers) + 127) << 23;
    return x.part[i] * (Vector)bits;
  });
}

// `x` where low <= at <= high, elsewhere `otherwise`.
inline Lanes Between(const Lanes& low, const Lanes& at, const Lanes& high, const Lanes& x,
                     const Lanes& otherwise) {
  return Each([&](size_t i) {
    const auto inside = (low.part[i] <= at.part[i]) & (at.part[i] <= high.part[i]);
    return inside ? x.part[i] : otherwise.part[i];
  });
}
// `x` in the lanes whose bit is set, elsewhere `otherwise`.
inline Lanes Chosen(uint32_t bits, const Lanes& x, const Lanes& otherwise) {
  static constexpr int32_t kBits[16] = {
      1 << 0, 1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
      1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
  return Each([&](size_t i) {
    Integers lanes;
    std::memcpy(&lanes, kBits + i * kWidth, sizeof lanes);
    return (lanes & static_cast<int32_t>(bits)) != 0 ? x.part[i] : otherwise.part[i];
  });
}

inline Vector Widen(const float* p) {
  Vector out;
  std::memcpy(&out, p, sizeof out);
  return out;
}
// Of any stored number.
template <typename Stored>
inline Lanes Load(const Stored* p) {
  return Each([&](size_t i) { return Widen(p + i * kWidth); });
}
// Lanes from `lane` on become those of a register.
inline void SetPart(Lanes& x, int lane, Vector part) { x.part[lane / kWidth] = part; }
inline void Store(float* p, const Lanes& x) {
  for (int i = 0; i < kParts; ++i) std::memcpy(p + i * kWidth, &x.part[i], sizeof(Vector));
}
// The first `count` lanes; the others are 0, and not read or written.
template <typename Stored>
inline Lanes LoadSome(const Stored* p, int64_t count) {
  if (count >= 16) return Load(p);
  Stored some[16] = {};
  for (int64_t i = 0; i < count; ++i) some[i] = p[i];
  return Load(some);
}
inline void StoreSome(float* p, const Lanes& x, int64_t count) {
  if (count >= 16) return Store(p, x);
  float some[16];
  Store(some, x);
  for (int64_t i = 0; i < count; ++i) p[i] = some[i];
}
// To the nearest. Of what is too large for a half, the largest; NaN stays.
inline void StoreSome(Half* p, const Lanes& x, int64_t count) {
  const Lanes kept = Max(Splat(-kLargestHalf), Min(Splat(kLargestHalf), x));
  Half some[16];
  for (int i = 0; i < kParts; ++i) Narrow(kept.part[i], some + i * kWidth);
  for (int64_t i = 0; i < 16 && i < count; ++i) p[i] = some[i];
}
inline Lanes LoadHalves(const uint8_t* p) {
  return Load(reinterpret_cast<const Half*>(p));
}
// As float16, rounded up.
inline void StoreHalvesAtLeast(uint8_t* p, const Lanes& x) {
  Half halves[16];
  for (int i = 0; i < kParts; ++i) NarrowAtLeast(x.part[i], halves + i * kWidth);
  std::memcpy(p, halves, sizeof halves);
}
inline Lanes LoadUnsigned(const uint8_t* p) { return Load(p); }
inline Lanes LoadSigned(const uint8_t* p) {
  return Load(reinterpret_cast<const int8_t*>(p));
}
// Rounds numbers of at most 127 to bytes and returns the sum of these. NaN counts as 0.
inline int32_t StoreBytes(int8_t* p, const Lanes& x) {
  int32_t sum = 0;
  for (int i = 0; i < kParts; ++i) sum += StoreBytes(p + i * kWidth, x.part[i]);
  return sum;
}

// Halves are put together until a vector is left.
template <typename Operation>
inline Vector Fold(const Lanes& x, Operation operation) {
  if constexpr (kParts == 2) {
    return operation(x.part[0], x.part[1]);
  } else {
    return operation(operation(x.part[0], x.part[2]), operation(x.part[1], x.part[3]));
  }
}
inline float Sum(const Lanes& x) {
  float sums[kWidth];
  const Vector folded = Fold(x, [](Vector a, Vector b) { return a + b; });
  std::memcpy(sums, &folded, sizeof sums);
  for (int width = kWidth / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) sums[i] += sums[i + width];
  }
  return sums[0];
}
// Lane i is `Sum(x[i])`.
inline Lanes SumEach(const Lanes (&x)[16]) {
  return Each([&](size_t part) {
    Vector folded[kWidth];
    for (int i = 0; i < kWidth; ++i) {
      folded[i] = Fold(x[part * kWidth + i], [](Vector a, Vector b) { return a + b; });
    }
    return SumEach(folded);
  });
}
inline float Largest(const Lanes& x) {
  const Vector folded = Fold(x, [](Vector a, Vector b) { return a > b ? a : b; });
  float largest = folded[0];
  for (int i = 1; i < kWidth; ++i) largest = largest > folded[i] ? largest : folded[i];
  return largest;
}
// The largest absolute value among both; NaN if there is one: floats without their sign
// order like their bits, and NaN comes last.
inline float LargestMagnitude(const Lanes& a, const Lanes& b) {
  const auto larger = [](Vector x, Vector y) {
    const Integers i = (Integers)x & 0x7FFFFFFF, j = (Integers)y & 0x7FFFFFFF;
    return (Vector)(i > j ? i : j);
  };
  const auto folded = (Integers)larger(Fold(a, larger), Fold(b, larger));
  int32_t largest = 0;
  for (int i = 0; i < kWidth; ++i) largest = largest > folded[i] ? largest : folded[i];
  float out;
  std::memcpy(&out, &largest, 4);
  return out;
}

}  // namespace gemma::GEMMA_TARGET
