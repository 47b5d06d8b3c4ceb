// Root-mean-square norm, with the sum that follows it.

#include <algorithm>

#include "parallel.h"
#include "routines.h"
#include "xla/ffi/api/ffi.h"

namespace gemma {
namespace {

namespace ffi = xla::ffi;
using Floats = ffi::Buffer<ffi::F32>;

// x, out: float32 [rows, columns]; gain: float32 [columns]; residual: as x, or empty.
ffi::Error RmsNorm(ffi::ThreadPool pool, Floats x, Floats gain, Floats residual,
                   ffi::Result<Floats> out, float epsilon) {
  constexpr int64_t kRowsAPiece = 32;
  const int64_t rows = x.dimensions()[0], columns = x.dimensions()[1];
  const float* added = residual.element_count() > 0 ? residual.typed_data() : nullptr;
  ParallelFor(pool, (rows + kRowsAPiece - 1) / kRowsAPiece, [&](int64_t piece) {
    const int64_t begin = piece * kRowsAPiece, end = std::min(begin + kRowsAPiece, rows);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = row * columns;
      CurrentRoutines().rms_norm(x.typed_data() + at, gain.typed_data(),
                                 added == nullptr ? nullptr : added + at, epsilon, columns,
                                 out->typed_data() + at);
    }
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace gemma

XLA_FFI_DEFINE_HANDLER_SYMBOL(gemma_rms_norm, gemma::RmsNorm,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<gemma::Floats>()
                                  .Arg<gemma::Floats>()
                                  .Arg<gemma::Floats>()
                                  .Ret<gemma::Floats>()
                                  .Attr<float>("epsilon"));
