// A product with a weight that is stored as rows of plain numbers, as checkpoints of
// Hugging Face have them: out[r, n] = sum_k x[r, k] w[n, k].
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

struct FloatProduct {
  const float* x;      // [rows, columns]
  const void* weight;  // [outputs, columns]
  Number number;       // of the weight
  float* out;          // [rows, outputs]
  int64_t rows, outputs, columns;
};

}  // namespace gemma
