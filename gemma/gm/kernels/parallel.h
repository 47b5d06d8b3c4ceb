// Splits a loop over the threads that XLA hands to a call.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "xla/ffi/api/ffi.h"

namespace gemma {

// Calls body(i) for each i in [0, count), on the pool and on the calling thread.
//
// The calling thread takes part until nothing is left, so the loop ends even if the pool
// is busy with other work and never gets to the tasks: they then find nothing to do. The
// shared state outlives them for that reason.
template <typename Body>
void ParallelFor(xla::ffi::ThreadPool& pool, int64_t count, const Body& body) {
  const int64_t num_helpers = std::min(pool.num_threads(), count) - 1;
  if (num_helpers < 1) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  struct State {
    std::atomic<int64_t> next{0};
    std::atomic<int64_t> done{0};
  };
  auto state = std::make_shared<State>();
  // `body` lives on the caller's stack; a late task must not touch it, and does not: it
  // takes an index only while the caller still waits for that index.
  auto work = [state, count, &body] {
    int64_t finished = 0;
    for (int64_t i; (i = state->next.fetch_add(1)) < count; ++finished) body(i);
    if (finished > 0) state->done.fetch_add(finished, std::memory_order_release);
  };
  for (int64_t i = 0; i < num_helpers; ++i) {
    auto copy = work;
    pool.Schedule(std::move(copy));
  }
  work();
  while (state->done.load(std::memory_order_acquire) < count) {
    // What is left is a fraction of one piece of work: too short to sleep for.
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
}

}  // namespace gemma
