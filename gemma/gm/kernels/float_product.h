// A product with a weight that is stored as rows of plain numbers, as checkpoints of
// Hugging Face have them: out[r, n] = sum_k x[r, k] w[n, k].
#pragma once

#include <cstdint>

#include "number.h"

namespace gemma {

struct FloatProduct {
  const float* x;      // [rows, columns]
  const void* weight;  // [outputs, columns]
  Number number;       // of the weight
  float* out;          // [rows, outputs]
  int64_t rows, outputs, columns;
};

}  // namespace gemma
