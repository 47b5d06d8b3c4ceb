// What will be needed in a while.
#pragma once

#include <cstdint>

namespace gemma {

// An address to be fetched as far as the second cache, which can wait for more lines than
// the first: twice as fast as leaving it to the processor, which does not foresee where
// several short rows go on. Nothing is read: it may lie beyond the end.
inline const void* Ahead(const void* p) {
  return reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(p) + 16384);
}

}  // namespace gemma
