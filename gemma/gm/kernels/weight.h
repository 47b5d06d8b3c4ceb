// A packed weight, as gemma/gm/kernels/_packing.py lays it out.
//
// Rows go in tiles of 16, one row a lane of a 512-bit register; columns in groups of 32.
// Within a group, step s in [0, 8) covers columns 4s .. 4s+3: the four bytes of a lane. So
// a step is one integer dot product of four columns for sixteen rows, its activations are
// one 32-bit broadcast, and the sixteen sums need no addition across lanes.
//
// Weights are stored unsigned, because the instruction multiplies unsigned by signed bytes:
//
//   w = scale * (q - zero) - minimum
//   sum_k w x = scale * (sum_k q x - zero * sum_k x) - minimum * sum_k x
//
// Bits beyond four lie in planes of their own:
//   8 bits: 8 vectors of 64 bytes, one a step.
//   4 bits: 4 vectors; vector v holds step 2v in its low nibbles, 2v + 1 in its high ones.
//   5 bits: the same, and 1 vector whose bit s of each byte is bit 4 of step s.
//   6 bits: the same, and 2 vectors; bits 2i and 2i+1 of vector h are bits 4 and 5 of
//           step 4h + i.
//
// The scales of a tile lie behind its values, and the scales of scales behind those: a
// weight is one array, [tiles, bytes of a tile], each tile beginning at a cache line.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gemma {

constexpr int kTile = 16;   // rows
constexpr int kGroup = 32;  // columns
constexpr int kSteps = 8;   // of four columns
constexpr int kSuper = 8;   // groups
constexpr int kLine = 64;   // bytes of the cache

// How the scales of a weight are stored.
enum class ScaleKind : int32_t {
  kHalf = 0,         // a float16 a group
  kSuper = 1,        // a float16 by 8 groups times a uint8 a group; and so for the minimum
  kSuper16 = 2,      // a float16 by 8 groups times two int8 a group, for 16 columns each
  kHalfMinimum = 3,  // a float16 a group for the scale and one for the minimum
};

// What the stored bits mean.
enum class Code : int32_t {
  kInteger = 0,  // q itself
  kNormal = 1,   // one of 16 levels that suit normal numbers (nf4), in q + 128
};

struct Kind {
  int32_t bits;
  ScaleKind scale;
  int32_t zero;
  Code code;
};

constexpr int64_t GroupBytes(int bits) { return kTile * kGroup * bits / 8; }
constexpr int64_t ScaleBytes(ScaleKind scale) {
  return (scale == ScaleKind::kHalfMinimum ? 4 : 2) * kTile;
}

constexpr int64_t kSuperBytes = 2 * 2 * kTile;

// Where the parts of a tile are. The values [groups, GroupBytes] come first.
struct TileLayout {
  int64_t scales;  // kHalf: float16 [groups, 16]; kHalfMinimum: with a 2 before the 16;
                   // else bytes [groups, 2, 16]: scale and minimum of a group, or scales
                   // of its two halves
  int64_t supers;  // float16 [ceil(groups / 8), 2, 16]: of scale, minimum
  int64_t end;     // of all these
  int64_t bytes;   // with what fills up the last cache line: zeros
};

constexpr TileLayout LayoutOf(int bits, ScaleKind scale, int64_t groups) {
  const bool has_supers = scale == ScaleKind::kSuper || scale == ScaleKind::kSuper16;
  const int64_t scales = groups * GroupBytes(bits);
  const int64_t supers = scales + groups * ScaleBytes(scale);
  const int64_t end = supers + has_supers * (groups + kSuper - 1) / kSuper * kSuperBytes;
  return {scales, supers, end, (end + kLine - 1) / kLine * kLine};
}

struct Weight {
  Weight() = default;
  Weight(const Kind& kind, const uint8_t* bytes, int64_t outputs, int64_t groups)
      : kind(kind),
        bytes(bytes),
        outputs(outputs),
        tiles((outputs + kTile - 1) / kTile),
        groups(groups),
        layout(LayoutOf(kind.bits, kind.scale, groups)) {}

  // The parts of a tile.
  const uint8_t* Values(int64_t tile) const { return bytes + tile * layout.bytes; }
  const uint8_t* Scales(int64_t tile) const { return Values(tile) + layout.scales; }
  const uint8_t* Supers(int64_t tile) const { return Values(tile) + layout.supers; }

  Kind kind;
  const uint8_t* bytes;
  int64_t outputs, tiles, groups;
  TileLayout layout;
};

struct Activations;

// The outputs of `tiles` tiles for rows [begin, end) of the activations, at most kMaxRows.
// `out` is where the first row's go, those of the next row lie `stride` floats on.
using TileProduct = void (*)(const Weight& w, const Activations& x, const int32_t* starts,
                             int64_t tile, int64_t tiles, int64_t begin, int64_t end,
                             float* out, int64_t stride);

constexpr int64_t kMaxRows = 128;

// Outlines a tile of a weight; see screen.h.
using TileOutline = void (*)(const Weight& w, const float* offsets, int64_t tile,
                             uint8_t* out);

struct KindRoutines {
  TileProduct product;
  TileOutline outline;
};

}  // namespace gemma
