// Makes the screen of a weight.

#include "screen.h"

#include <vector>

#include "routines.h"

// Fills in tiles [begin, end) of the screen of a weight. Returns whether there is such a
// kind of weight.
extern "C" __attribute__((visibility("default"))) bool gemma_make_screen(
    const uint8_t* bytes, const int64_t* kind, int64_t groups, int64_t begin,
    int64_t end, uint8_t* out) {
  using namespace gemma;
  const Kind k = {static_cast<int32_t>(kind[0]), static_cast<ScaleKind>(kind[1]),
                  static_cast<int32_t>(kind[2]), static_cast<Code>(kind[3])};
  const Weight w = {k, bytes, end * kTile, groups};
  const TileOutline outline = CurrentRoutines().find_kind(k).outline;
  if (outline == nullptr) return false;
  std::vector<float> offsets(groups * kGroup);
  for (int64_t i = 0; i < groups * kGroup; ++i) offsets[i] = Offset(i);
  const int64_t tile_bytes = LayoutOf(kScreenKind.bits, kScreenKind.scale, groups).bytes;
  for (int64_t tile = begin; tile < end; ++tile) {
    outline(w, offsets.data(), tile, out + tile * tile_bytes);
  }
  return true;
}
