// Vectors that begin at a line of the cache: a register that is loaded across two lines
// costs two loads.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

#include "weight.h"

namespace gemma {

template <typename T>
struct LineAllocator {
  using value_type = T;

  LineAllocator() = default;
  template <typename U>
  LineAllocator(const LineAllocator<U>&) {}

  T* allocate(size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t{kLine}));
  }
  void deallocate(T* p, size_t) { ::operator delete(p, std::align_val_t{kLine}); }

  template <typename U>
  bool operator==(const LineAllocator<U>&) const {
    return true;
  }
  template <typename U>
  bool operator!=(const LineAllocator<U>&) const {
    return false;
  }
};

template <typename T>
using LineVector = std::vector<T, LineAllocator<T>>;

}  // namespace gemma
