// Attention of new tokens over a key/value cache and themselves, and the cache's update.
//
// The token at position p lies in slot p mod S of the cache. Queries look at the cache as
// it was: a ring may lose to the last tokens of a chunk what its first ones still need. So
// the new keys and values are written at the end, into the same memory.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "line_vector.h"
#include "parallel.h"
#include "routines.h"
#include "xla/ffi/api/ffi.h"

namespace gemma {
namespace {

namespace ffi = xla::ffi;
using Floats = ffi::Buffer<ffi::F32>;
using Integers = ffi::Buffer<ffi::S32>;

// Axes: B batch, L new tokens, N query heads, K key/value heads, G = N / K, S slots, H width.
struct Sizes {
  int64_t B, L, N, K, G, S, H;
};

struct Inputs {
  const float *q, *k, *v;      // [B, L, N or K, H]
  const float *query_gain, *key_gain;  // [H], or null
  const float *cos, *sin;      // [B, L, H / 2]
  const int32_t *begin, *end;  // [B]: tokens of a row before and after these
  const int32_t* last_seen;    // [B, L]
  const void *k_cache, *v_cache;  // [B, K, S, H]

  int64_t Count(int64_t b) const { return end[b] - begin[b]; }
};

// Keys that some queries of a head look at: at most two runs of a ring and the new ones.
struct Runs {
  Keys runs[3];
  int count = 0;

  void Add(const void* k, const void* v, int64_t first, int64_t num) {
    if (num > 0) runs[count++] = {k, v, first, num};
  }
};

// So many parts of a context are added up by all threads, fewer by one.
constexpr int64_t kManyParts = 32;

// A piece of work: some keys for the few queries of a head, or some of its many queries.
struct Task {
  int64_t b, head;
  bool is_few;
  int64_t begin, end;  // few: parts of their keys; many: queries
};

// What one call computes in; kept from call to call.
struct Scratch {
  std::vector<Task> tasks;
  std::vector<Keys> parts;  // of the keys of few queries
  LineVector<float> q;      // [B, K, L * G, H]
  LineVector<char> k, v;    // [B, K, L, H], as in the cache
  std::vector<float> positions, last_seen;  // [B, L * G]
  std::vector<float> peaks, masses;         // of the parts of few queries
  LineVector<float> totals;                 // likewise

  void Resize(const Sizes& s, int64_t head_bytes) {
    q.resize(s.B * s.L * s.N * s.H);
    k.resize(s.B * s.L * s.K * head_bytes);
    v.resize(s.B * s.L * s.K * head_bytes);
    positions.resize(s.B * s.L * s.G);
    last_seen.resize(s.B * s.L * s.G);
  }
};

class Attention {
 public:
  Attention(const Sizes& sizes, const Inputs& inputs, const AttentionConfig& config,
            float scale, float* out, Scratch& scratch)
      : s_(sizes), in_(inputs), config_(config), scale_(scale), out_(out),
        scratch_(scratch), routines_(CurrentRoutines()) {
    scratch_.Resize(s_, HeadBytes(config_));
  }

  void Run(ffi::ThreadPool& pool) {
    ParallelFor(pool, s_.B * s_.L, [&](int64_t i) { Prepare(i / s_.L, i % s_.L); });
    MakeTasks();
    const std::vector<Task>& tasks = scratch_.tasks;
    ParallelFor(pool, static_cast<int64_t>(tasks.size()),
                [&](int64_t i) { Attend(tasks[i]); });
    MergeParts(pool);
  }

  // Puts the new keys and values into their slots; only the newest of those that share one.
  void Write(void* k_cache, void* v_cache) const {
    const int64_t bytes = HeadBytes(config_);
    for (int64_t b = 0; b < s_.B; ++b) {
      const int64_t count = in_.Count(b);
      for (int64_t l = std::max<int64_t>(0, count - s_.S); l < count; ++l) {
        const int64_t slot = (in_.begin[b] + l) % s_.S;
        for (int64_t head = 0; head < s_.K; ++head) {
          const int64_t to = ((b * s_.K + head) * s_.S + slot) * bytes;
          const int64_t from = ((b * s_.K + head) * s_.L + l) * bytes;
          std::memcpy(static_cast<char*>(k_cache) + to, scratch_.k.data() + from, bytes);
          std::memcpy(static_cast<char*>(v_cache) + to, scratch_.v.data() + from, bytes);
        }
      }
    }
  }

 private:
  int64_t Rows(int64_t b) const { return in_.Count(b) * s_.G; }

  // Where the result of a query goes.
  float* Out(int64_t b, int64_t head, int64_t row) const {
    const int64_t l = row / s_.G, n = head * s_.G + row % s_.G;
    return out_ + ((b * s_.L + l) * s_.N + n) * s_.H;
  }

  // Normalises and rotates the heads of one token. Padding is left out: its result is 0.
  void Prepare(int64_t b, int64_t l) {
    const int64_t token = b * s_.L + l;
    if (l >= in_.Count(b)) {
      std::fill_n(out_ + token * s_.N * s_.H, s_.N * s_.H, 0.0f);
      return;
    }
    const int64_t half = s_.H / 2;
    const Rotation rotation = {in_.cos + token * half, in_.sin + token * half};
    thread_local std::vector<float> key;
    key.resize(s_.H);
    for (int64_t head = 0; head < s_.K; ++head) {
      const int64_t first_row = ((b * s_.K + head) * s_.L + l) * s_.G;
      for (int64_t g = 0; g < s_.G; ++g) {
        routines_.prepare_head(in_.q + (token * s_.N + head * s_.G + g) * s_.H,
                               in_.query_gain, rotation, config_, scale_,
                               scratch_.q.data() + (first_row + g) * s_.H);
        scratch_.positions[token * s_.G + g] = static_cast<float>(in_.begin[b] + l);
        scratch_.last_seen[token * s_.G + g] = static_cast<float>(in_.last_seen[token]);
      }
      // New keys are rounded like those of the cache: it does not matter for what a
      // query finds whether they came with it or before it.
      const int64_t from = (token * s_.K + head) * s_.H;
      const int64_t to = ((b * s_.K + head) * s_.L + l) * HeadBytes(config_);
      routines_.prepare_head(in_.k + from, in_.key_gain, rotation, config_, 1.0f,
                             key.data());
      routines_.store_head(key.data(), config_, scratch_.k.data() + to);
      routines_.store_head(in_.v + from, config_, scratch_.v.data() + to);
    }
  }

  Queries QueriesOf(int64_t b, int64_t head, int64_t row, int64_t rows) const {
    const int64_t first = (b * s_.K + head) * s_.L * s_.G + row;
    const int64_t at = b * s_.L * s_.G + row;
    return {scratch_.q.data() + first * s_.H, scratch_.positions.data() + at,
            scratch_.last_seen.data() + at, rows};
  }

  Runs RunsOf(int64_t b, int64_t head) const {
    const int64_t begin = in_.begin[b];
    const int64_t cached = (b * s_.K + head) * s_.S, fresh = (b * s_.K + head) * s_.L;
    Runs out;
    // Cached keys that are still there and that the first query sees.
    int64_t first = std::max({int64_t{0}, begin - s_.S, begin - config_.window + 1});
    while (first < begin) {
      const int64_t slot = first % s_.S;
      const int64_t num = std::min(begin - first, s_.S - slot);
      out.Add(Row(in_.k_cache, cached + slot, config_),
              Row(in_.v_cache, cached + slot, config_), first, num);
      first += num;
    }
    out.Add(Row(scratch_.k.data(), fresh, config_), Row(scratch_.v.data(), fresh, config_),
            begin, in_.Count(b));
    return out;
  }

  void MakeTasks() {
    scratch_.tasks.clear();
    scratch_.parts.clear();
    for (int64_t b = 0; b < s_.B; ++b) {
      const int64_t rows = Rows(b);
      for (int64_t head = 0; head < s_.K && rows > 0; ++head) {
        if (rows < kFewRows) {
          AddParts(b, head);
          continue;
        }
        // The last queries see the most keys: they begin first.
        for (int64_t row = (rows - 1) / kRowsATask * kRowsATask; row >= 0;
             row -= kRowsATask) {
          scratch_.tasks.push_back(
              {b, head, false, row, std::min(row + kRowsATask, rows)});
        }
      }
    }
    const size_t parts = scratch_.parts.size();
    scratch_.peaks.resize(parts * kFewRows);
    scratch_.masses.resize(parts * kFewRows);
    scratch_.totals.resize(parts * kFewRows * s_.H);
  }

  void AddParts(int64_t b, int64_t head) {
    const Runs runs = RunsOf(b, head);
    const auto first = static_cast<int64_t>(scratch_.parts.size());
    for (int i = 0; i < runs.count; ++i) {
      const Keys& run = runs.runs[i];
      for (int64_t begin = 0; begin < run.count; begin += kKeysAPart) {
        const Keys keys =
            Slice(run, begin, std::min(begin + kKeysAPart, run.count), config_);
        scratch_.parts.push_back(keys);
      }
    }
    // Memory is read best in long runs; but threads of uneven speed share the work. What
    // is less than half a part joins the task before: no thread is woken for it.
    const auto end = static_cast<int64_t>(scratch_.parts.size());
    int64_t left = 0, keys = 0;
    for (int64_t part = first; part < end; ++part) left += scratch_.parts[part].count;
    const int64_t keys_a_task = std::clamp(left / 8, kKeysAPart, 8 * kKeysAPart);
    for (int64_t part = first, begin = first; part < end; ++part) {
      keys += scratch_.parts[part].count;
      left -= scratch_.parts[part].count;
      if (left > 0 && (keys < keys_a_task || left < kKeysAPart / 2)) continue;
      scratch_.tasks.push_back({b, head, true, begin, part + 1});
      begin = part + 1;
      keys = 0;
    }
  }

  Partial Found(int64_t part) const {
    return {scratch_.peaks.data() + part * kFewRows,
            scratch_.masses.data() + part * kFewRows,
            scratch_.totals.data() + part * kFewRows * s_.H};
  }

  void Attend(const Task& task) const {
    if (task.is_few) {
      const Queries queries = QueriesOf(task.b, task.head, 0, Rows(task.b));
      for (int64_t part = task.begin; part < task.end; ++part) {
        Partial found = Found(part);
        routines_.attend_few(queries, scratch_.parts[part], config_, found);
      }
      return;
    }
    const int64_t rows = task.end - task.begin;
    const Queries queries = QueriesOf(task.b, task.head, task.begin, rows);
    float* outs[kRowsATask];
    for (int64_t r = 0; r < rows; ++r) outs[r] = Out(task.b, task.head, task.begin + r);
    const Runs runs = RunsOf(task.b, task.head);
    routines_.attend_many(queries, runs.runs, runs.count, config_, outs);
  }

  // Adds up what few queries found in the parts of their keys, in order.
  void MergeParts(ffi::ThreadPool& pool) const {
    const std::vector<Task>& tasks = scratch_.tasks;
    for (size_t begin = 0, end; begin < tasks.size(); begin = end) {
      const Task& first = tasks[begin];
      end = begin + 1;
      while (end < tasks.size() && tasks[end].b == first.b &&
             tasks[end].head == first.head) {
        ++end;
      }
      if (!first.is_few) continue;
      const auto merge = [&](int64_t row) {
        MergeRow(first.begin, tasks[end - 1].end, row, Out(first.b, first.head, row));
      };
      if (tasks[end - 1].end - first.begin >= kManyParts) {
        ParallelFor(pool, Rows(first.b), merge);
      } else {
        for (int64_t row = 0; row < Rows(first.b); ++row) merge(row);
      }
    }
  }

  void MergeRow(int64_t begin, int64_t end, int64_t row, float* out) const {
    float peak = kHidden;
    for (int64_t i = begin; i < end; ++i) peak = std::max(peak, Found(i).peak[row]);
    float mass = 0.0f;
    std::fill_n(out, s_.H, 0.0f);
    for (int64_t i = begin; i < end; ++i) {
      const Partial part = Found(i);
      const float factor = std::exp(part.peak[row] - peak);
      mass += factor * part.mass[row];
      for (int64_t h = 0; h < s_.H; ++h) out[h] += factor * part.total[row * s_.H + h];
    }
    for (int64_t h = 0; h < s_.H; ++h) out[h] /= mass;
  }

  const Sizes s_;
  const Inputs in_;
  const AttentionConfig config_;
  const float scale_;
  float* const out_;
  Scratch& scratch_;
  const Routines& routines_;
};

const float* DataOrNull(const Floats& x) {
  return x.element_count() > 0 ? x.typed_data() : nullptr;
}

ffi::Error CachedAttention(ffi::ThreadPool pool, Floats q, Floats k, Floats v,
                           Floats query_gain, Floats key_gain, Floats cos, Floats sin,
                           Integers begin, Integers end, Integers last_seen,
                           ffi::AnyBuffer k_cache, ffi::AnyBuffer v_cache,
                           ffi::Result<Floats> out,
                           ffi::Result<ffi::AnyBuffer> new_k_cache,
                           ffi::Result<ffi::AnyBuffer> new_v_cache, int64_t window, float scale,
                           float softcap, float epsilon) {
  const auto q_shape = q.dimensions(), cache_shape = k_cache.dimensions();
  const Sizes sizes = {q_shape[0],     q_shape[1], q_shape[2],    cache_shape[1],
                       q_shape[2] / cache_shape[1], cache_shape[2], q_shape[3]};
  const Inputs inputs = {q.typed_data(),       k.typed_data(),   v.typed_data(),
                         DataOrNull(query_gain), DataOrNull(key_gain), cos.typed_data(),
                         sin.typed_data(),     begin.typed_data(), end.typed_data(),
                         last_seen.typed_data(), k_cache.untyped_data(), v_cache.untyped_data()};
  if (k_cache.untyped_data() != new_k_cache->untyped_data() ||
      v_cache.untyped_data() != new_v_cache->untyped_data()) {
    return ffi::Error::Internal("the cache is not updated in place");
  }
  const ffi::DataType kept = k_cache.element_type();
  if ((kept != ffi::F32 && kept != ffi::F16) || v_cache.element_type() != kept) {
    return ffi::Error::InvalidArgument("keys and values are kept as float32 or float16");
  }
  const Number number = kept == ffi::F32 ? Number::kFloat : Number::kHalf;
  thread_local Scratch scratch;
  Attention attention(sizes, inputs, {number, sizes.H, window, softcap, epsilon}, scale,
                      out->typed_data(), scratch);
  attention.Run(pool);
  attention.Write(new_k_cache->untyped_data(), new_v_cache->untyped_data());
  return ffi::Error::Success();
}

}  // namespace
}  // namespace gemma

XLA_FFI_DEFINE_HANDLER_SYMBOL(gemma_cached_attention, gemma::CachedAttention,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<gemma::Floats>()
                                  .Arg<gemma::Floats>()
                                  .Arg<gemma::Floats>()
                                  .Arg<gemma::Floats>()
                                  .Arg<gemma::Floats>()
                                  .Arg<gemma::Floats>()
                                  .Arg<gemma::Floats>()
                                  .Arg<gemma::Integers>()
                                  .Arg<gemma::Integers>()
                                  .Arg<gemma::Integers>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Ret<gemma::Floats>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Attr<int64_t>("window")
                                  .Attr<float>("scale")
                                  .Attr<float>("softcap")
                                  .Attr<float>("epsilon"));
