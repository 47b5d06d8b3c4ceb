// Four-bit outlines of the rows of a weight, from which outputs can be bounded.
//
// A head of 262,144 rows is read whole in each step to find one token. Its screen holds
// each value w as c = round(w / a + d), with a step a for each group of 32 columns and an
// offset d in [-1/2, 1/2) for each column, the same for all rows and drawn at random:
// subtractive dither. It stands for a (c - d), and what is missing, r = w - a (c - d), is
// distributed evenly over [-a/2, a/2) whatever w is, independently for each column.
//
// Activations x depend on weights and tokens, not on the offsets. So sum r x is a sum of
// independent, even, centred terms, and passes
//
//   t sqrt(sum_groups a^2 |x_group|^2 / 12)
//
// with a probability of at most 2 exp(-t^2 / 2): an even distribution has lighter tails
// than the normal one of its variance (Arbel et al. 2020, "On strict sub-Gaussianity").
// With t = 9.5 that is below 1e-13 for all rows of a head together, a step.
#pragma once

#include <cstdint>

#include "weight.h"

namespace gemma {

// A screen is laid out as a weight of this kind: c + 8 in nibbles, and a.
constexpr Kind kScreenKind = {4, ScaleKind::kHalf, 8, Code::kInteger};

constexpr float kDeviations = 9.5f;  // t

// The offset of a column.
inline float Offset(int64_t column) {
  uint64_t x = static_cast<uint64_t>(column + 1) * 0x9E3779B97F4A7C15u;  // splitmix64
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  x ^= x >> 31;
  return static_cast<float>(x >> 40) * 0x1p-24f - 0.5f;
}

struct Activations;

// Activations, by what outputs are compared, cap * tanh(output / cap), and which outputs
// may be found: bit i % 32 of word i / 32 of a row stands for output i.
struct ScreenInput {
  const Activations* x;
  const int32_t* starts;   // [groups, rows]: -8 times the sum of the group
  const float* offsets;    // [groups, rows]: minus the sum of offset times x
  const float* variances;  // [groups, rows]: |x_group|^2 t^2 / 12
  const uint32_t* allowed;  // [rows, words]
  int64_t words;
  float softcap;           // 0 for none

  // The bits of the sixteen outputs of a tile, those beyond the last output 0.
  uint32_t AllowedIn(int64_t tile, int64_t row, int64_t outputs) const {
    const uint32_t bits = allowed[row * words + tile / 2] >> (tile % 2 * kTile) & 0xFFFFu;
    const int64_t count = outputs - tile * kTile;
    return count >= kTile ? bits : bits & ((1u << count) - 1);
  }
};

}  // namespace gemma
