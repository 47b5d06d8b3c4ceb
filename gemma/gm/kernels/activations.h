// Activations quantized to 8 bits by groups of 32 columns: x = scale * value.
//
// Integer sums over a group are exact, so a row's products do not depend on the order of
// its columns within a group, on other rows, or on threads.
#pragma once

#include <cstdint>
#include <vector>

#include "weight.h"

namespace gemma {

// Groups come first, so that a tile walks through all rows of a group in a row.
struct Activations {
  int64_t rows = 0, groups = 0;
  std::vector<int8_t> values;  // [groups, rows, 32]
  std::vector<float> scales;   // [groups, rows]
  std::vector<int32_t> sums;   // [2, groups, rows]: of the first and the last 16 values

  // Makes room; memory is kept from call to call.
  void Resize(int64_t new_rows, int64_t columns) {
    rows = new_rows;
    groups = (columns + kGroup - 1) / kGroup;
    values.resize(groups * rows * kGroup);
    scales.resize(groups * rows);
    sums.resize(2 * groups * rows);
  }

  int64_t At(int64_t group, int64_t row) const { return group * rows + row; }
};

// Writes to `starts` [2, groups, rows] what the product adds because of zero or minimum:
//   kSuper, kHalfMinimum: minus the sum of the group, to be multiplied by the minimum;
//   kSuper16: for each half, the integer that its dot product starts from;
//   kHalf: the integer that the dot product of the group starts from.
inline void MakeStarts(const Activations& x, const Kind& kind, std::vector<int32_t>& starts) {
  const int64_t count = x.groups * x.rows;
  const bool by_halves = kind.scale == ScaleKind::kSuper16;
  const bool has_minimum =
      kind.scale == ScaleKind::kSuper || kind.scale == ScaleKind::kHalfMinimum;
  const int32_t factor = has_minimum ? -1 : -kind.zero;
  starts.resize(2 * count);
  for (int64_t i = 0; i < count; ++i) {
    const int32_t first = x.sums[i], second = x.sums[count + i];
    starts[i] = factor * (by_halves ? first : first + second);
    starts[count + i] = factor * second;
  }
}

}  // namespace gemma
