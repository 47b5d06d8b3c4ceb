// The inner loops, one set for each instruction set: which there are, which is in use.
//
// The arithmetic is written once, in .inc files over sixteen lanes (lanes.h), and compiled
// three times with other flags (target_*.cc). Everything around it, threads and XLA's
// buffers, is compiled once.
#pragma once

#include "activations.h"
#include "attention.h"
#include "float_product.h"
#include "screen.h"
#include "weight.h"

namespace gemma {

struct Routines {
  // Quantizes rows [begin, end) of x [.., columns] into `out`.
  void (*quantize)(const float* x, int64_t columns, int64_t begin, int64_t end,
                   Activations& out);

  // Returns what there is for a kind of weight; null pointers if there is no such kind.
  KindRoutines (*find_kind)(const Kind& kind);

  // Makes outputs [begin, end) of a product with plain numbers, for all rows.
  void (*multiply_floats)(const FloatProduct& product, int64_t begin, int64_t end);

  // Bounds of the outputs of a tile, for rows [begin, end): the largest lower and the
  // largest upper one among the sixteen; see screen.h.
  void (*screen_tile)(const Weight& screen, const ScreenInput& x, int64_t tile,
                      int64_t begin, int64_t end, float* lower, float* upper);

  // out = x / rms(x) * (1 + gain), plus `residual` unless that is null; one row.
  void (*rms_norm)(const float* x, const float* gain, const float* residual, float epsilon,
                   int64_t columns, float* out);

  // The parts of attention; see attention.h.
  void (*prepare_head)(const float* x, const float* gain, const Rotation& rotation,
                       const AttentionConfig& config, float factor, float* out);
  void (*store_head)(const float* x, const AttentionConfig& config, void* out);
  void (*attend_few)(const Queries& queries, const Keys& keys,
                     const AttentionConfig& config, Partial& out);
  void (*attend_many)(const Queries& queries, const Keys* runs, int num_runs,
                      const AttentionConfig& config, float* const* outs);
};

// Those of the widest instruction set that this processor has.
const Routines& CurrentRoutines();

}  // namespace gemma
