// Makes the screen of a weight.

#include "screen.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "routines.h"

namespace gemma {
namespace {

// The nearest float16 at or above x, for x from 2^-14 to 65504; 0 for 0.
uint16_t HalfAtLeast(float x) {
  if (x <= 0) return 0;
  x = std::max(x, 0x1p-14f);
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return static_cast<uint16_t>(((bits + 0x1FFF) >> 13) - ((127 - 15) << 10));
}

float HalfToFloat(uint16_t half) {
  return half == 0 ? 0.0f
                   : std::ldexp(1.0f + (half & 0x3FF) * 0x1p-10f, (half >> 10) - 15);
}

// Outlines one group of a tile: `values` is [16, 32].
void Outline(const float* values, const float* offsets, uint8_t* nibbles, uint8_t* scales) {
  uint8_t codes[kTile][kGroup];
  for (int row = 0; row < kTile; ++row) {
    const float* w = values + row * kGroup;
    float largest = 0.0f;
    for (int k = 0; k < kGroup; ++k) largest = std::max(largest, std::fabs(w[k]));
    // At most 7 steps, and the offset moves by half a one: -8 <= c <= 7.
    const uint16_t half = HalfAtLeast(largest / 6.999f);
    const float step = HalfToFloat(half);
    const float inverse = step > 0 ? 1.0f / step : 0.0f;
    for (int k = 0; k < kGroup; ++k) {
      // A number and 8.5 is not negative, so that cutting off rounds down.
      const int code = static_cast<int>(w[k] * inverse + offsets[k] + 8.5f);
      codes[row][k] = static_cast<uint8_t>(std::min(code, 15));
    }
    std::memcpy(scales + 2 * row, &half, 2);
  }
  for (int v = 0; v < 4; ++v) {
    for (int row = 0; row < kTile; ++row) {
      for (int i = 0; i < 4; ++i) {
        const uint8_t low = codes[row][8 * v + i], high = codes[row][8 * v + 4 + i];
        nibbles[64 * v + 4 * row + i] = static_cast<uint8_t>(low | high << 4);
      }
    }
  }
}

}  // namespace
}  // namespace gemma

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
  const gemma::GroupValues group_values = CurrentRoutines().find_kind(k).values;
  if (group_values == nullptr) return false;
  for (int64_t g = 0; g < groups; ++g) {
    float offsets[kGroup];
    for (int i = 0; i < kGroup; ++i) offsets[i] = Offset(g * kGroup + i);
    for (int64_t tile = begin; tile < end; ++tile) {
      float group[kTile * kGroup];
      group_values(w, tile, g, group);
      const int64_t at = tile * groups + g;
      Outline(group, offsets, screen_values + at * GroupBytes(4),
              screen_scales + at * 2 * kTile);
    }
  }
  return true;
}
