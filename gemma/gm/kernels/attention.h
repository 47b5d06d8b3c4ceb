// Attention of new tokens over a key/value cache and over themselves: what the threads
// hand to the inner loops.
//
// All queries that look at one key/value head of one row of the batch are rows of a
// matrix: G query heads for each of the new tokens, row l * G + g. Keys lie in runs of
// consecutive positions that are contiguous in memory. A query looks at what came before it
// and at itself; one in an image, at all of the image.
#pragma once

#include <cstdint>

#include "number.h"

namespace gemma {

struct AttentionConfig {
  Number number;    // what keys and values are kept as: float or float16
  int64_t width;    // of a head, H
  int64_t window;   // keys that a query sees, its own included
  float softcap;    // of the scores; 0 for none
  float epsilon;    // of the norms
};

// Cosines and sines of one token's rotation, half a head wide.
struct Rotation {
  const float* cos;
  const float* sin;
};

struct Queries {
  const float* q;          // [rows, width], normalised, rotated and scaled
  const float* positions;  // [rows]
  const float* last_seen;  // [rows]: where the last key is that they may look at
  int64_t rows;
};

struct Keys {
  const void* k;  // [count, width]
  const void* v;  // [count, width]
  int64_t first;  // position of the first
  int64_t count;
};

// Bytes of a head's key or value.
inline int64_t HeadBytes(const AttentionConfig& config) {
  return config.width * (config.number == Number::kFloat ? 4 : 2);
}

// Row `row` of keys or values.
inline const void* Row(const void* heads, int64_t row, const AttentionConfig& config) {
  return static_cast<const char*>(heads) + row * HeadBytes(config);
}

// Keys [begin, end) of these.
inline Keys Slice(const Keys& keys, int64_t begin, int64_t end,
                  const AttentionConfig& config) {
  return {Row(keys.k, begin, config), Row(keys.v, begin, config), keys.first + begin,
          end - begin};
}

// A softmax-weighted sum over some of the keys: total / mass, scaled by e^-peak.
struct Partial {
  float* peak;   // [rows]
  float* mass;   // [rows]
  float* total;  // [rows, width]
};

constexpr int64_t kFewRows = 16;      // fewer go along the width, others along the lanes
constexpr int64_t kKeysAPart = 128;  // that few queries see in one piece of work
constexpr int64_t kRowsATask = 64;    // of many queries
constexpr int64_t kKeysABlock = 64;   // that many queries see at once

// What a hidden key scores: finite, so that differences of scores are never NaN.
constexpr float kHidden = -2.3819763e38f;

}  // namespace gemma
