"""Arithmetic that XLA does badly on a CPU, in C++, each with a plain reference."""

from gemma.gm.kernels._library import available, instruction_set
from gemma.gm.kernels._packing import (
    NORMAL_LEVELS,
    TILE,
    Code,
    Packed,
    PackedKind,
    ScaleKind,
    pack,
    packed_shapes,
)
from gemma.gm.kernels._quantized_matmul import (
    PackedWeight,
    dequantize,
    dequantize_rows,
    quantized_matmul,
)

__all__ = [
    "NORMAL_LEVELS",
    "TILE",
    "Code",
    "Packed",
    "PackedKind",
    "PackedWeight",
    "ScaleKind",
    "available",
    "dequantize",
    "dequantize_rows",
    "instruction_set",
    "pack",
    "packed_shapes",
    "quantized_matmul",
]
