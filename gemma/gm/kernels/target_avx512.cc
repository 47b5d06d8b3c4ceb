// AVX-512 with VNNI.
#define GEMMA_TARGET avx512vnni
#include "routines.inc"
