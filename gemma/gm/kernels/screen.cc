// Makes the screen of a weight.

#include "screen.h"

#include <vector>

#include "routines.h"

// Fills the screen's values [tiles, groups, 256] and scales [tiles, groups, 32] for tiles
// [begin, end) of a weight. Returns whether there is such a kind of weight.
extern "C" __attribute__((visibility("default"))) bool gemma_make_screen(
    const uint8_t* values, const uint8_t* scales, const uint8_t* supers,
    const int64_t* kind, int64_t groups, int64_t begin, int64_t end,
    uint8_t* screen_values, uint8_t* screen_scales) {
  using namespace gemma;
  const Kind k = {static_cast<int32_t>(kind[0]), static_cast<ScaleKind>(kind[1]),
                  static_cast<int32_t>(kind[2]), static_cast<Code>(kind[3])};
  const Weight w = {k, values, scales, supers, 0, 0, groups};
  const TileOutline outline = CurrentRoutines().find_kind(k).outline;
  if (outline == nullptr) return false;
  std::vector<float> offsets(groups * kGroup);
  for (int64_t i = 0; i < groups * kGroup; ++i) offsets[i] = Offset(i);
  for (int64_t tile = begin; tile < end; ++tile) {
    outline(w, offsets.data(), tile, screen_values + tile * groups * GroupBytes(4),
            screen_scales + tile * groups * 2 * kTile);
  }
  return true;
}
