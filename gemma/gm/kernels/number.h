// What floats are stored as.
#pragma once

#include <cstdint>

namespace gemma {

// Numbers of 16 bits, which are widened as they are loaded.
struct Half {
  uint16_t bits;
};
// bfloat16: the upper half of a float.
struct Brain {
  uint16_t bits;
};

enum class Number { kFloat, kHalf, kBrain };

constexpr float kLargestHalf = 65504.0f;

}  // namespace gemma
