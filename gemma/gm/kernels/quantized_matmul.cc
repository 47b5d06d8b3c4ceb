// Products of activations with packed weights: out[r, n] = sum_k x[r, k] w[n, k].
//
// Activations are rounded to 8 bits by groups of 32 columns, once for all the weights that
// they are multiplied with. For one row the order of the float sums is fixed: neither the
// number of rows nor that of threads changes a bit.

#include <algorithm>
#include <vector>

#include "parallel.h"
#include "routines.h"
#include "xla/ffi/api/ffi.h"

namespace gemma {
namespace {

namespace ffi = xla::ffi;
using Bytes = ffi::Buffer<ffi::U8>;
using Floats = ffi::Buffer<ffi::F32>;

struct Product {
  Weight weight;
  TileProduct routine;
  std::vector<int32_t> starts;
  float* out;
};

// The kind of weight i, from four attributes a weight: bits, scale, zero, code.
Kind KindOf(ffi::Span<const int64_t> kinds, size_t i) {
  return {static_cast<int32_t>(kinds[4 * i]), static_cast<ScaleKind>(kinds[4 * i + 1]),
          static_cast<int32_t>(kinds[4 * i + 2]), static_cast<Code>(kinds[4 * i + 3])};
}

ffi::Error MakeProduct(const Bytes& bytes, Floats out, const Kind& kind, int64_t columns,
                       Product& product) {
  const Weight& w = product.weight = {kind, bytes.typed_data(), out.dimensions()[1],
                                      (columns + kGroup - 1) / kGroup};
  product.routine = CurrentRoutines().find_kind(kind).product;
  product.out = out.typed_data();
  if (product.routine == nullptr) {
    return ffi::Error::InvalidArgument("unknown kind of weight");
  }
  if (static_cast<int64_t>(bytes.element_count()) != w.tiles * w.layout.bytes) {
    return ffi::Error::InvalidArgument("a weight of another shape");
  }
  return ffi::Error::Success();
}

void QuantizeRows(ffi::ThreadPool& pool, const Floats& x, Activations& activations) {
  constexpr int64_t kRowsAPiece = 16;
  const int64_t rows = x.dimensions()[0], columns = x.dimensions()[1];
  activations.Resize(rows, columns);
  ParallelFor(pool, (rows + kRowsAPiece - 1) / kRowsAPiece, [&](int64_t piece) {
    const int64_t begin = piece * kRowsAPiece;
    CurrentRoutines().quantize(x.typed_data(), columns, begin,
                               std::min(begin + kRowsAPiece, rows), activations);
  });
}

// One run of tiles of one product, for all rows.
void MultiplyTiles(const Product& product, const Activations& x, int64_t begin,
                   int64_t end) {
  const Weight& w = product.weight;
  for (int64_t row = 0; row < x.rows; row += kMaxRows) {
    const int64_t row_end = std::min(row + kMaxRows, x.rows);
    float* out = product.out + row * w.outputs + begin * kTile;
    product.routine(w, x, product.starts.data(), begin, end - begin, row, row_end, out,
                    w.outputs);
  }
}

// A piece of work: tiles [begin, end) of a product.
struct Piece {
  const Product* product;
  int64_t begin, end;
};

// Cuts products into pieces: small enough to even out threads of uneven speed, large
// enough to be worth taking: 64 kB of weights or more.
void Cut(const std::vector<Product>& products, std::vector<Piece>& pieces) {
  pieces.clear();
  for (const Product& product : products) {
    const Weight& w = product.weight;
    const int64_t tile_bytes = std::max<int64_t>(1, w.layout.bytes);
    const int64_t tiles_a_piece = std::max<int64_t>(1, 65536 / tile_bytes);
    for (int64_t tile = 0; tile < w.tiles; tile += tiles_a_piece) {
      pieces.push_back({&product, tile, std::min(tile + tiles_a_piece, w.tiles)});
    }
  }
}

// x: float32 [rows, columns]; then the bytes of each weight. Results: float32
// [rows, outputs] of each weight.
ffi::Error QuantizedMatmul(ffi::ThreadPool pool, Floats x, ffi::RemainingArgs weights,
                           ffi::RemainingRets outs, ffi::Span<const int64_t> kinds) {
  // Kept from call to call: nothing is allocated in a step.
  thread_local Activations activations;
  thread_local std::vector<Product> products;
  thread_local std::vector<Piece> pieces;
  const size_t count = outs.size();
  if (weights.size() != count || kinds.size() != 4 * count) {
    return ffi::Error::InvalidArgument("an array and four attributes a weight");
  }
  products.resize(count);
  QuantizeRows(pool, x, activations);
  for (size_t i = 0; i < count; ++i) {
    const auto bytes = weights.get<Bytes>(i);
    auto out = outs.get<Floats>(i);
    if (!bytes || !out) {
      return ffi::Error::InvalidArgument("weights are bytes and results floats");
    }
    ffi::Error error =
        MakeProduct(*bytes, **out, KindOf(kinds, i), x.dimensions()[1], products[i]);
    if (error.failure()) return error;
    MakeStarts(activations, products[i].weight.kind, products[i].starts);
  }
  Cut(products, pieces);
  // Helpers see the memory of this thread, not their own.
  const Activations& quantized = activations;
  const std::vector<Piece>& work = pieces;
  ParallelFor(pool, static_cast<int64_t>(work.size()), [&](int64_t i) {
    MultiplyTiles(*work[i].product, quantized, work[i].begin, work[i].end);
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace gemma

XLA_FFI_DEFINE_HANDLER_SYMBOL(gemma_quantized_matmul, gemma::QuantizedMatmul,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<gemma::Floats>()
                                  .RemainingArgs()
                                  .RemainingRets()
                                  .Attr<xla::ffi::Span<const int64_t>>("kinds"));
