// What the C library keeps of memory that was freed goes back to the system.

#include <cstdlib>  // says whether this is glibc

#if defined(__GLIBC__)
#include <malloc.h>
#endif

extern "C" __attribute__((visibility("default"))) void gemma_give_back_memory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}
