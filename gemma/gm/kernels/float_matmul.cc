// Products of activations with weights of plain numbers: out[r, n] = sum_k x[r, k] w[n, k].
//
// The weight is read where it lies, once, and never held in float32. For one row the order
// of the sums is fixed: neither the number of rows nor that of threads changes a bit.

#include <algorithm>

#include "float_product.h"
#include "parallel.h"
#include "routines.h"
#include "xla/ffi/api/ffi.h"

namespace gemma {
namespace {

namespace ffi = xla::ffi;
using Floats = ffi::Buffer<ffi::F32>;

// Returns false for numbers that there is no routine for.
bool FindNumber(ffi::DataType type, Number& number) {
  switch (type) {
    case ffi::F32: number = Number::kFloat; return true;
    case ffi::F16: number = Number::kHalf; return true;
    case ffi::BF16: number = Number::kBrain; return true;
    default: return false;
  }
}

// How many outputs a thread takes at a time: 128 kB of weights, which its second cache
// holds while all rows pass; with many rows, whose sums take longer than reading, also few
// enough that each thread gets several pieces. A multiple of any block of outputs.
int64_t OutputsAPiece(const FloatProduct& product, int64_t num_threads) {
  constexpr int64_t kBlock = 8, kManyRows = 8;
  const int64_t number_bytes = product.number == Number::kFloat ? 4 : 2;
  int64_t outputs = 131072 / std::max<int64_t>(1, product.columns * number_bytes);
  if (product.rows >= kManyRows) {
    outputs = std::min(outputs, product.outputs / (4 * num_threads));
  }
  return std::max(kBlock, outputs / kBlock * kBlock);
}

// x: float32 [rows, columns]; weight: float32, float16 or bfloat16 [outputs, columns].
// Result: float32 [rows, outputs].
ffi::Error FloatMatmul(ffi::ThreadPool pool, Floats x, ffi::AnyBuffer weight,
                       ffi::Result<Floats> out) {
  if (x.dimensions().size() != 2 || weight.dimensions().size() != 2 ||
      out->dimensions().size() != 2) {
    return ffi::Error::InvalidArgument("operands and result are matrices");
  }
  FloatProduct product{};
  if (!FindNumber(weight.element_type(), product.number)) {
    return ffi::Error::InvalidArgument("a weight is float32, float16 or bfloat16");
  }
  product.x = x.typed_data();
  product.weight = weight.untyped_data();
  product.out = out->typed_data();
  product.rows = x.dimensions()[0];
  product.outputs = weight.dimensions()[0];
  product.columns = x.dimensions()[1];
  if (weight.dimensions()[1] != product.columns ||
      out->dimensions()[0] != product.rows || out->dimensions()[1] != product.outputs) {
    return ffi::Error::InvalidArgument("x [R, K], weight [N, K] and result [R, N]");
  }
  const int64_t step = OutputsAPiece(product, std::max<int64_t>(1, pool.num_threads()));
  ParallelFor(pool, (product.outputs + step - 1) / step, [&](int64_t piece) {
    const int64_t begin = piece * step;
    CurrentRoutines().multiply_floats(product, begin,
                                      std::min(begin + step, product.outputs));
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace gemma

XLA_FFI_DEFINE_HANDLER_SYMBOL(gemma_float_matmul, gemma::FloatMatmul,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<gemma::Floats>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Ret<gemma::Floats>());
