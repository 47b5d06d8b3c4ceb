// AVX2 with FMA.
#define GEMMA_TARGET avx2
#include "routines.inc"
