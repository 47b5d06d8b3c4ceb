// Which instruction set is in use.

#include "routines.h"

#include <algorithm>

namespace gemma {

namespace portable {
extern const Routines kRoutines;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Routines kRoutines;
}
namespace avx512vnni {
extern const Routines kRoutines;
}
#endif

namespace {

struct Target {
  const char* name;
  const Routines* routines;
};

// From the narrowest to the widest.
const Target kTargets[] = {
    {"portable", &portable::kRoutines},
#if defined(__x86_64__)
    {"avx2", &avx2::kRoutines},
    {"avx512-vnni", &avx512vnni::kRoutines},
#endif
};

int Widest() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return 2;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("f16c")) {
    return 1;
  }
#endif
  return 0;
}

// Tests lower this to run the narrower paths on a wide machine.
int limit = 2;

const Target& Current() {
  static const int widest = Widest();
  return kTargets[std::min(widest, limit)];
}

}  // namespace

const Routines& CurrentRoutines() { return *Current().routines; }

}  // namespace gemma

extern "C" __attribute__((visibility("default"))) const char* gemma_instruction_set() {
  return gemma::Current().name;
}

extern "C" __attribute__((visibility("default"))) void gemma_limit_instruction_set(
    int target) {
  gemma::limit = target;
}
