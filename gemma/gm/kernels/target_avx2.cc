// The plain loops, compiled for AVX2 and FMA.
#define GEMMA_TARGET avx2
#include "routines.inc"
