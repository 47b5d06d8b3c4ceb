// The XLA call around the tiles: which instructions, which thread does which tile.

#include "quantized_matmul.h"

#include <string>

#include "parallel.h"
#include "xla/ffi/api/ffi.h"

namespace gemma {

namespace portable {
TileProduct Find(int bits, ScaleKind scale);
}
#if defined(__x86_64__)
namespace avx2 {
TileProduct Find(int bits, ScaleKind scale);
}
namespace avx512vnni {
TileProduct Find(int bits, ScaleKind scale);
}
#endif

namespace {

enum class Target { kPortable, kAvx2, kAvx512Vnni };

Target DetectTarget() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl")) {
    return Target::kAvx512Vnni;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("f16c")) {
    return Target::kAvx2;
  }
#endif
  return Target::kPortable;
}

// Tests lower this to run the narrower paths on a wide machine.
int max_target = static_cast<int>(Target::kAvx512Vnni);

Target CurrentTarget() {
  static const Target detected = DetectTarget();
  return std::min(detected, static_cast<Target>(max_target));
}

}  // namespace

TileProduct FindTileProduct(int bits, ScaleKind scale) {
#if defined(__x86_64__)
  if (CurrentTarget() == Target::kAvx512Vnni) return avx512vnni::Find(bits, scale);
  if (CurrentTarget() == Target::kAvx2) return avx2::Find(bits, scale);
#endif
  return portable::Find(bits, scale);
}

const char* InstructionSet() {
  switch (CurrentTarget()) {
    case Target::kAvx512Vnni: return "avx512-vnni";
    case Target::kAvx2: return "avx2";
    case Target::kPortable: return "portable";
  }
  return "";
}

namespace ffi = xla::ffi;

// x: float32 [rows, columns]; values, scales, supers: bytes, as `Weight` has them;
// out: float32 [rows, outputs].
ffi::Error QuantizedMatmul(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> x,
                           ffi::Buffer<ffi::U8> values, ffi::Buffer<ffi::U8> scales,
                           ffi::Buffer<ffi::U8> supers,
                           ffi::Result<ffi::Buffer<ffi::F32>> out, int64_t bits,
                           int64_t scale_kind, int64_t zero) {
  const auto kind = static_cast<ScaleKind>(scale_kind);
  const TileProduct product = FindTileProduct(static_cast<int>(bits), kind);
  if (product == nullptr) return ffi::Error::InvalidArgument("unknown kind of weight");
  const int64_t rows = x.dimensions()[0], columns = x.dimensions()[1];
  const int64_t outputs = out->dimensions()[1];

  Weight w;
  w.values = values.typed_data();
  w.scales = scales.typed_data();
  w.supers = reinterpret_cast<const uint16_t*>(supers.typed_data());
  w.tiles = (outputs + kTile - 1) / kTile;
  w.groups = (columns + kGroup - 1) / kGroup;
  w.zero = static_cast<int32_t>(zero);
  const auto group_bytes = static_cast<size_t>(GroupBytes(static_cast<int>(bits)));
  if (values.element_count() != w.tiles * w.groups * group_bytes ||
      scales.element_count() != static_cast<size_t>(w.tiles * w.groups * 2 * kTile)) {
    return ffi::Error::InvalidArgument("a weight of another shape");
  }

  const Activations activations(x.typed_data(), rows, columns);
  float* result = out->typed_data();
  // Pieces small enough to even out threads of uneven speed, large enough to be worth
  // taking: 64 kB of weights or more.
  const int64_t tile_bytes = std::max<int64_t>(1, w.groups * group_bytes);
  const int64_t tiles_a_piece = std::max<int64_t>(1, 65536 / tile_bytes);
  const int64_t pieces = (w.tiles + tiles_a_piece - 1) / tiles_a_piece;
  ParallelFor(pool, pieces, [&](int64_t piece) {
    const int64_t begin = piece * tiles_a_piece;
    const int64_t end = std::min(begin + tiles_a_piece, w.tiles);
    for (int64_t tile = begin; tile < end; ++tile) {
      const int count = static_cast<int>(std::min<int64_t>(kTile, outputs - tile * kTile));
      for (int64_t row = 0; row < rows; row += kMaxRows) {
        const int some = static_cast<int>(std::min<int64_t>(kMaxRows, rows - row));
        product(w, activations, tile, row, some, result, outputs, count);
      }
    }
  });
  return ffi::Error::Success();
}

}  // namespace gemma

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    gemma_quantized_matmul, gemma::QuantizedMatmul,
    xla::ffi::Ffi::Bind()
        .Ctx<xla::ffi::ThreadPool>()
        .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
        .Arg<xla::ffi::Buffer<xla::ffi::U8>>()
        .Arg<xla::ffi::Buffer<xla::ffi::U8>>()
        .Arg<xla::ffi::Buffer<xla::ffi::U8>>()
        .Ret<xla::ffi::Buffer<xla::ffi::F32>>()
        .Attr<int64_t>("bits")
        .Attr<int64_t>("scale_kind")
        .Attr<int64_t>("zero"));

extern "C" __attribute__((visibility("default"))) const char* gemma_instruction_set() { return gemma::InstructionSet(); }

extern "C" __attribute__((visibility("default"))) void gemma_limit_instruction_set(int target) { gemma::max_target = target; }
