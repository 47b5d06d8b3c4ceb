// Plain C++ for any processor.
#define GEMMA_TARGET portable
#include "routines.inc"
