// The inner loops, one set for each instruction set: which there are, which is in use.
//
// The arithmetic is written once, in .inc files over sixteen lanes (lanes.h), and compiled
// three times with other flags (target_*.cc). Everything around it, threads and XLA's
// buffers, is compiled once.
#pragma once

#include "activations.h"
#include "weight.h"

namespace gemma {

struct Routines {
  // Quantizes rows [begin, end) of x [.., columns] into `out`. If `gain` is not null, each
  // row is divided by its root mean square first and multiplied by 1 + gain.
  void (*quantize)(const float* x, const float* gain, float epsilon, int64_t columns,
                   int64_t begin, int64_t end, Activations& out);

  // Returns the product for a kind of weight; null if there is no such kind.
  TileProduct (*find_product)(const Kind& kind);
};

// Those of the widest instruction set that this processor has.
const Routines& CurrentRoutines();

}  // namespace gemma
