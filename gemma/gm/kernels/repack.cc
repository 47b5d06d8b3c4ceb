// Rows of GGUF blocks -> the tiles of a packed weight, bit for bit.
//
// A group of a tile is made in two steps. Each of its rows is decoded, in a way of its own
// for each type of block (gguf_blocks.h); then the bytes are laid out as weight.h says, in
// one way for all types. `pack` in _packing.py does the same in numpy, as the reference.

#include <algorithm>
#include <cstring>

#include "gguf_blocks.h"
#include "weight.h"

namespace gemma {
namespace {

// 32 columns of sixteen rows.
struct TileGroup {
  Columns q[kTile];
  Numbers scales[kTile], supers[kTile];
};

// What a call works on; see gemma_repack.
struct Work {
  const uint8_t* blocks;
  int64_t row_bytes, rows, columns;
  uint8_t* out;

  int64_t tiles() const { return (rows + kTile - 1) / kTile; }
  int64_t groups() const { return columns / kGroup; }
};

// Four columns of a lane, into a vector of a group.
inline void Put(uint8_t* out, int vector, int lane, uint32_t four) {
  std::memcpy(out + 4 * (vector * kTile + lane), &four, 4);
}

inline uint32_t Low(uint32_t four) { return four & 0x0F0F0F0F; }
inline uint32_t High(uint32_t four) { return four >> 4 & 0x0F0F0F0F; }

// Lays out the values of one lane.
template <int kBits>
inline void PutLane(const uint32_t (&steps)[kSteps], int lane, uint8_t* out) {
  if constexpr (kBits == 8) {
    for (int s = 0; s < kSteps; ++s) Put(out, s, lane, steps[s]);
  } else {
    for (int v = 0; v < 4; ++v) {
      Put(out, v, lane, Low(steps[2 * v]) | Low(steps[2 * v + 1]) << 4);
    }
  }
  if constexpr (kBits == 5 || kBits == 6) {
    constexpr int kExtra = kBits - 4, kStepsOfPlane = kSteps / kExtra;
    for (int plane = 0; plane < kExtra; ++plane) {
      uint32_t bits = 0;
      for (int i = 0; i < kStepsOfPlane; ++i) {
        bits |= High(steps[plane * kStepsOfPlane + i]) << kExtra * i;
      }
      Put(out, 4 + plane, lane, bits);
    }
  }
}

// Lays out the values of one group.
template <int kBits>
inline void PutValues(const TileGroup& group, uint8_t* out) {
  for (int lane = 0; lane < kTile; ++lane) {
    uint32_t steps[kSteps];
    std::memcpy(steps, group.q[lane], sizeof steps);
    PutLane<kBits>(steps, lane, out);
  }
}

// Lays out kCount numbers of kBytes from each lane: all first ones, then all second ones.
template <int kCount, int kBytes>
inline void PutNumbers(const Numbers (&numbers)[kTile], uint8_t* out) {
  for (int i = 0; i < kCount; ++i) {
    for (int lane = 0; lane < kTile; ++lane) {
      std::memcpy(out + kBytes * (i * kTile + lane), numbers[lane] + kBytes * i, kBytes);
    }
  }
}

template <ScaleKind kScale>
inline void PutScales(const TileGroup& group, uint8_t* out) {
  if constexpr (kScale == ScaleKind::kHalf) {
    PutNumbers<1, 2>(group.scales, out);
  } else if constexpr (kScale == ScaleKind::kHalfMinimum) {
    PutNumbers<2, 2>(group.scales, out);
  } else {
    PutNumbers<2, 1>(group.scales, out);
  }
}

template <typename Block>
void RepackTile(const Work& work, int64_t tile) {
  const int64_t groups = work.groups(), first_row = tile * kTile;
  const int64_t lanes = std::min<int64_t>(kTile, work.rows - first_row);
  const TileLayout layout = LayoutOf(Block::kBits, Block::kScale, groups);
  uint8_t* const out = work.out + tile * layout.bytes;
  TileGroup group = {};  // rows beyond the last stay zero
  for (int64_t g = 0; g < groups; ++g) {
    const uint8_t* block =
        work.blocks + first_row * work.row_bytes + g / Block::kGroups * Block::kBytes;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      Block::Decode(block + lane * work.row_bytes, static_cast<int>(g % Block::kGroups),
                    group.q[lane], group.scales[lane]);
    }
    PutValues<Block::kBits>(group, out + g * GroupBytes(Block::kBits));
    PutScales<Block::kScale>(group, out + layout.scales + g * ScaleBytes(Block::kScale));
    if constexpr (Block::kGroups == kSuper) {
      if (g % kSuper == 0) {
        for (int64_t lane = 0; lane < lanes; ++lane) {
          Block::Supers(block + lane * work.row_bytes, group.supers[lane]);
        }
        PutNumbers<2, 2>(group.supers, out + layout.supers + g / kSuper * kSuperBytes);
      }
    }
  }
  std::fill(out + layout.end, out + layout.bytes, 0);
}

// What gemma_repack returns; the messages are in _repacking.py.
enum Error : int32_t { kNone = 0, kUnknownType = 1, kOtherSize = 2 };

template <typename Block>
Error Repack(const Work& work, int64_t first_tile, int64_t end_tile) {
  constexpr int64_t kColumns = Block::kGroups * kGroup;
  if (work.columns % kColumns != 0 ||
      work.row_bytes != work.columns / kColumns * Block::kBytes || first_tile < 0 ||
      end_tile > work.tiles()) {
    return kOtherSize;
  }
  for (int64_t tile = first_tile; tile < end_tile; ++tile) {
    RepackTile<Block>(work, tile);
  }
  return kNone;
}

Error RepackType(int32_t type, const Work& work, int64_t first, int64_t end) {
  switch (type) {
    case Q4_0::kType: return Repack<Q4_0>(work, first, end);
    case Q4_1::kType: return Repack<Q4_1>(work, first, end);
    case Q5_0::kType: return Repack<Q5_0>(work, first, end);
    case Q5_1::kType: return Repack<Q5_1>(work, first, end);
    case Q8_0::kType: return Repack<Q8_0>(work, first, end);
    case Q4_K::kType: return Repack<Q4_K>(work, first, end);
    case Q5_K::kType: return Repack<Q5_K>(work, first, end);
    case Q6_K::kType: return Repack<Q6_K>(work, first, end);
    default: return kUnknownType;
  }
}

}  // namespace
}  // namespace gemma

// Fills in tiles [first_tile, end_tile) of a whole weight, from all its rows of blocks. Threads may do other tiles at the same time. Returns an `Error`.
extern "C" __attribute__((visibility("default"))) int32_t gemma_repack(
    int32_t type, const uint8_t* blocks, int64_t row_bytes, int64_t rows,
    int64_t columns, int64_t first_tile, int64_t end_tile, uint8_t* out) {
  const gemma::Work work = {blocks, row_bytes, rows, columns, out};
  return gemma::RepackType(type, work, first_tile, end_tile);
}
