// Products of activations with packed weights: out[r, n] = sum_k x[r, k] w[n, k].
//
// Layout of a weight (gemma/gm/kernels/_packing.py makes it). Rows go in tiles of 16, one
// row a lane of a 512-bit register; columns in groups of 32. Within a group, step s in
// [0, 8) covers columns 4s .. 4s+3: the four bytes of a lane. So a step is one integer
// dot product of four columns for sixteen rows, its activations are one 32-bit broadcast,
// and the sixteen sums need no addition across lanes.
//
// Weights are stored unsigned, q = value + zero, because the instruction multiplies
// unsigned by signed bytes:
//
//   sum_k w x = scale * (sum_k q x - zero * sum_k x) - minimum * sum_k x
//
// Bits beyond four lie in planes of their own:
//   8 bits: 8 vectors of 64 bytes, one a step.
//   4 bits: 4 vectors; vector v holds step 2v in its low nibbles, 2v + 1 in its high ones.
//   5 bits: the same, and 1 vector whose bit s of each byte is bit 4 of step s.
//   6 bits: the same, and 2 vectors; bits 2i and 2i+1 of vector h are bits 4 and 5 of
//           step 4h + i.
//
// Activations are quantized to 8 bits by groups of 32: x = x_scale * xq. All integer sums
// are exact, and for one row the order of the float sums is fixed: neither the number of
// rows nor that of threads changes a bit.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace gemma {

constexpr int kTile = 16;     // rows
constexpr int kGroup = 32;    // columns
constexpr int kSteps = 8;     // of four columns
constexpr int kMaxRows = 4;   // of activations that share one pass over a tile

// How the scales of a weight are stored.
enum ScaleKind {
  kHalf = 0,     // one float16 a group
  kSuper = 1,    // float16 by 8 groups times uint8 a group; and so for the minimum
  kSuper16 = 2,  // float16 by 8 groups times two int8 a group, for 16 columns each
};

constexpr int GroupBytes(int bits) { return kTile * kGroup * bits / 8; }

// Activations of all rows, quantized.
struct Activations {
  int64_t rows, groups;
  std::vector<int8_t> values;  // [rows, groups, 32]
  std::vector<float> scales;   // [rows, groups]
  std::vector<int32_t> sums;   // [rows, groups, 2]: of the first and second 16 values

  Activations(const float* x, int64_t rows, int64_t columns)
      : rows(rows),
        groups((columns + kGroup - 1) / kGroup),
        values(rows * groups * kGroup, 0),
        scales(rows * groups),
        sums(rows * groups * 2) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t begin = g * kGroup;
        QuantizeGroup(x + r * columns + begin,
                      std::min<int64_t>(kGroup, columns - begin), r * groups + g);
      }
    }
  }

  void QuantizeGroup(const float* x, int64_t count, int64_t group) {
    float largest = 0.0f;
    for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(x[i]));
    scales[group] = largest / 127.0f;
    const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
    int8_t* out = values.data() + group * kGroup;
    for (int64_t i = 0; i < count; ++i) {
      out[i] = static_cast<int8_t>(std::nearbyint(x[i] * inverse));
    }
    for (int half = 0; half < 2; ++half) {
      int32_t sum = 0;
      for (int i = 0; i < 16; ++i) sum += out[16 * half + i];
      sums[2 * group + half] = sum;
    }
  }
};

struct Weight {
  const uint8_t* values;   // [tiles, groups, GroupBytes]
  const uint8_t* scales;   // kHalf: float16 [tiles, groups, 16]
                           // else: bytes [tiles, groups, 2, 16]: scale and minimum of
                           // a group, or scales of its two halves
  const uint16_t* supers;  // float16 [tiles, ceil(groups / 8), 2, 16]: of scale, minimum
  int64_t tiles, groups;
  int32_t zero;
};

// One tile of outputs for `rows` (at most kMaxRows) rows of activations from `row` on;
// stores `count` of its 16 columns. `out` has `stride` columns.
using TileProduct = void (*)(const Weight& w, const Activations& x, int64_t tile,
                             int64_t row, int rows, float* out, int64_t stride,
                             int count);

// The product for a kind of weight, for the widest instructions of this processor.
// Null if there is no such kind.
TileProduct FindTileProduct(int bits, ScaleKind scale);

// The name of the instruction set in use: "avx512-vnni", "avx2" or "portable".
const char* InstructionSet();

}  // namespace gemma
