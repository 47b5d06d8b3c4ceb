// The largest outputs of a weight, exactly, while most of it is read through a screen.
//
// A first pass over the screen gives each output a lower and an upper bound. The tiles with
// the best lower bounds are computed from all bits, by the routine of the full product: the
// same numbers to the last bit. With k outputs wanted, the k-th largest of these is passed
// by at least k outputs, and no tile whose upper bounds lie below it can hold one of the k
// largest. The other tiles, some dozens, are then computed too.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "parallel.h"
#include "routines.h"
#include "xla/ffi/api/ffi.h"

namespace gemma {
namespace {

namespace ffi = xla::ffi;
using Bytes = ffi::Buffer<ffi::U8>;
using Floats = ffi::Buffer<ffi::F32>;
using Integers = ffi::Buffer<ffi::S32>;
using Words = ffi::Buffer<ffi::U32>;

// Whoever asks computes the softcap again, perhaps with other last bits, and float sums
// are rounded: what could change places with the last one wanted comes along.
constexpr float kSlack = 1e-3f;
// Tiles that are computed first, besides one for each output wanted.
constexpr int64_t kFirstTiles = 16;
constexpr float kNone = -std::numeric_limits<float>::infinity();

struct Candidate {
  float rank, output;
  int32_t id;
};

// A tile to be computed for a row.
struct Item {
  int64_t row, tile;
};

struct Scratch {
  Activations activations;
  std::vector<int32_t> screen_starts, starts;
  std::vector<float> offsets, variances;  // [groups, rows]
  std::vector<float> lower, upper;   // [rows, tiles]
  std::vector<int64_t> order;        // of the tiles
  std::vector<Item> items;           // tiles to compute from all bits
  std::vector<float> outputs;        // [items, 16]
  std::vector<Candidate> candidates;
};

// What the screen needs to know of each group of activations.
void DescribeGroups(const Activations& x, std::vector<float>& offsets,
                    std::vector<float>& variances) {
  offsets.resize(x.groups * x.rows);
  variances.resize(x.groups * x.rows);
  for (int64_t g = 0; g < x.groups; ++g) {
    for (int64_t row = 0; row < x.rows; ++row) {
      const int64_t at = x.At(g, row);
      const int8_t* values = x.values.data() + at * kGroup;
      float offset = 0.0f;
      int32_t squares = 0;
      for (int i = 0; i < kGroup; ++i) {
        offset += Offset(g * kGroup + i) * static_cast<float>(values[i]);
        squares += values[i] * values[i];
      }
      offsets[at] = -offset * x.scales[at];
      variances[at] = kDeviations * kDeviations / 12 * x.scales[at] * x.scales[at] *
                      static_cast<float>(squares);
    }
  }
}

class Search {
 public:
  Search(const Weight& weight, const Weight& screen, const ScreenInput& input,
         Scratch& scratch)
      : w_(weight), screen_(screen), input_(input), s_(scratch),
        routines_(CurrentRoutines()) {}

  // Reads the screen: bounds of every tile for every row.
  void ReadScreen(ffi::ThreadPool& pool) {
    constexpr int64_t kTilesAPiece = 16;
    const int64_t rows = s_.activations.rows;
    s_.lower.resize(rows * w_.tiles);
    s_.upper.resize(rows * w_.tiles);
    ParallelFor(pool, (w_.tiles + kTilesAPiece - 1) / kTilesAPiece, [&](int64_t piece) {
      const int64_t begin = piece * kTilesAPiece;
      const int64_t end = std::min(begin + kTilesAPiece, w_.tiles);
      for (int64_t tile = begin; tile < end; ++tile) ScreenTile(tile);
    });
  }

  // Computes the tiles with the best lower bounds: enough to hold k outputs.
  void ComputeBest(ffi::ThreadPool& pool, const int32_t* wanted) {
    s_.items.clear();
    s_.order.resize(w_.tiles);
    for (int64_t row = 0; row < s_.activations.rows; ++row) {
      const float* lower = s_.lower.data() + row * w_.tiles;
      std::iota(s_.order.begin(), s_.order.end(), 0);
      const int64_t count = std::min<int64_t>(w_.tiles, kFirstTiles + wanted[row]);
      std::partial_sort(s_.order.begin(), s_.order.begin() + count, s_.order.end(),
                        [&](int64_t a, int64_t b) { return lower[a] > lower[b]; });
      for (int64_t i = 0; i < count; ++i) s_.items.push_back({row, s_.order[i]});
    }
    Compute(pool, 0);
  }

  // Computes the other tiles that may hold one of the k largest.
  void ComputeRest(ffi::ThreadPool& pool, const int32_t* wanted) {
    const auto begin = static_cast<int64_t>(s_.items.size());
    for (int64_t row = 0; row < s_.activations.rows; ++row) {
      Collect(row, begin);
      float* upper = s_.upper.data() + row * w_.tiles;
      for (const Item& item : s_.items) {
        if (item.row == row) upper[item.tile] = kNone;  // is there already
      }
      const float threshold = KthRank(wanted[row]) - kSlack;
      for (int64_t tile = 0; tile < w_.tiles; ++tile) {
        if (upper[tile] >= threshold && upper[tile] > kNone) {
          s_.items.push_back({row, tile});
        }
      }
    }
    Compute(pool, begin);
  }

  // Writes the largest outputs of a row in the order of their ids; -1 fills up.
  void Report(int64_t row, int64_t wanted, int64_t capacity, int32_t* ids,
              float* outputs) {
    std::fill_n(ids, capacity, -1);
    std::fill_n(outputs, capacity, kNone);
    Collect(row, static_cast<int64_t>(s_.items.size()));
    std::vector<Candidate>& found = s_.candidates;
    const float threshold = KthRank(wanted) - kSlack;
    found.erase(std::remove_if(found.begin(), found.end(),
                               [&](const Candidate& c) { return !(c.rank >= threshold); }),
                found.end());
    if (static_cast<int64_t>(found.size()) > capacity) {
      std::sort(found.begin(), found.end(), IsBefore);
      found.resize(capacity);
    }
    std::sort(found.begin(), found.end(),
              [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
    for (size_t i = 0; i < found.size(); ++i) {
      ids[i] = found[i].id;
      outputs[i] = found[i].output;
    }
  }

 private:
  void ScreenTile(int64_t tile) {
    const int64_t rows = s_.activations.rows;
    float lower[kMaxRows], upper[kMaxRows];
    for (int64_t row = 0; row < rows; row += kMaxRows) {
      const int64_t end = std::min(row + kMaxRows, rows);
      routines_.screen_tile(screen_, input_, tile, row, end, lower, upper);
      for (int64_t r = row; r < end; ++r) {
        s_.lower[r * w_.tiles + tile] = lower[r - row];
        s_.upper[r * w_.tiles + tile] = upper[r - row];
      }
    }
  }

  // Computes items [begin, ..) from all bits.
  void Compute(ffi::ThreadPool& pool, int64_t begin) {
    constexpr int64_t kItemsAPiece = 8;
    const auto product = routines_.find_kind(w_.kind).product;
    const auto end = static_cast<int64_t>(s_.items.size());
    s_.outputs.resize(end * kTile);
    ParallelFor(pool, (end - begin + kItemsAPiece - 1) / kItemsAPiece, [&](int64_t piece) {
      const int64_t first = begin + piece * kItemsAPiece;
      for (int64_t i = first; i < std::min(first + kItemsAPiece, end); ++i) {
        const Item& item = s_.items[i];
        product(w_, s_.activations, s_.starts.data(), item.tile, 1, item.row, item.row + 1,
                s_.outputs.data() + i * kTile, kTile);
      }
    });
  }

  // Lists the outputs of a row among the first `end` items.
  void Collect(int64_t row, int64_t end) {
    s_.candidates.clear();
    for (int64_t i = 0; i < end; ++i) {
      if (s_.items[i].row != row) continue;
      const int64_t tile = s_.items[i].tile, first = tile * kTile;
      const uint32_t allowed = input_.AllowedIn(tile, row, w_.outputs);
      for (int64_t lane = 0; lane < std::min<int64_t>(kTile, w_.outputs - first); ++lane) {
        const float output = s_.outputs[i * kTile + lane], cap = input_.softcap;
        const float capped = cap > 0 ? cap * std::tanh(output / cap) : output;
        s_.candidates.push_back({allowed >> lane & 1 ? capped : kNone, output,
                                 static_cast<int32_t>(first + lane)});
      }
    }
  }

  // Higher ranks first, then lower ids. Ranks that are not numbers come last.
  static bool IsBefore(const Candidate& a, const Candidate& b) {
    const float x = a.rank == a.rank ? a.rank : kNone, y = b.rank == b.rank ? b.rank : kNone;
    return x != y ? x > y : a.id < b.id;
  }

  // The k-th largest rank of the candidates, or the smallest of fewer.
  float KthRank(int64_t k) {
    std::vector<Candidate>& found = s_.candidates;
    const auto kth = found.begin() + (std::min<int64_t>(k, found.size()) - 1);
    std::nth_element(found.begin(), kth, found.end(), IsBefore);
    return kth->rank;
  }

  const Weight& w_;
  const Weight& screen_;
  const ScreenInput& input_;
  Scratch& s_;
  const Routines& routines_;
};

// x: float32 [rows, columns]; weight, outline: bytes of a weight and of its screen; allowed: uint32 [rows, words], a bit an output;
// wanted: int32 [rows]; kind, outputs: of the weight.
// Results: ids and outputs [rows, capacity].
ffi::Error Shortlist(ffi::ThreadPool pool, Floats x, Bytes weight, Bytes outline,
                     Words allowed, Integers wanted, ffi::Result<Integers> ids,
                     ffi::Result<Floats> outputs, ffi::Span<const int64_t> kind,
                     int64_t num_outputs, float softcap) {
  thread_local Scratch scratch;
  const int64_t rows = x.dimensions()[0], columns = x.dimensions()[1];
  const int64_t capacity = ids->dimensions()[1];
  const int64_t words = allowed.dimensions()[1];
  const int64_t groups = (columns + kGroup - 1) / kGroup;
  const Weight w = {{static_cast<int32_t>(kind[0]), static_cast<ScaleKind>(kind[1]),
                     static_cast<int32_t>(kind[2]), static_cast<Code>(kind[3])},
                    weight.typed_data(), num_outputs, groups};
  const Weight screen = {kScreenKind, outline.typed_data(), num_outputs, groups};
  const auto has_bytes_of = [](const Bytes& array, const Weight& one) {
    return static_cast<int64_t>(array.element_count()) == one.tiles * one.layout.bytes;
  };
  if (!has_bytes_of(weight, w) || !has_bytes_of(outline, screen) ||
      words != (num_outputs + 31) / 32) {
    return ffi::Error::InvalidArgument("a weight or a screen of another shape");
  }
  Activations& activations = scratch.activations;
  activations.Resize(rows, columns);
  CurrentRoutines().quantize(x.typed_data(), columns, 0, rows, activations);
  MakeStarts(activations, w.kind, scratch.starts);
  MakeStarts(activations, kScreenKind, scratch.screen_starts);
  DescribeGroups(activations, scratch.offsets, scratch.variances);
  const ScreenInput input = {&activations,
                             scratch.screen_starts.data(),
                             scratch.offsets.data(),
                             scratch.variances.data(),
                             allowed.typed_data(),
                             words,
                             softcap};

  Search search(w, screen, input, scratch);
  search.ReadScreen(pool);
  search.ComputeBest(pool, wanted.typed_data());
  search.ComputeRest(pool, wanted.typed_data());
  for (int64_t row = 0; row < rows; ++row) {
    search.Report(row, wanted.typed_data()[row], capacity,
                  ids->typed_data() + row * capacity,
                  outputs->typed_data() + row * capacity);
  }
  return ffi::Error::Success();
}

}  // namespace
}  // namespace gemma

XLA_FFI_DEFINE_HANDLER_SYMBOL(gemma_shortlist, gemma::Shortlist,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<gemma::Floats>()
                                  .Arg<gemma::Bytes>()
                                  .Arg<gemma::Bytes>()
                                  .Arg<gemma::Words>()
                                  .Arg<gemma::Integers>()
                                  .Ret<gemma::Integers>()
                                  .Ret<gemma::Floats>()
                                  .Attr<xla::ffi::Span<const int64_t>>("kind")
                                  .Attr<int64_t>("num_outputs")
                                  .Attr<float>("softcap"));
