"""Arithmetic that XLA does badly on a CPU, in C++, each with a plain reference."""

from gemma.gm.kernels._cached_attention import HeadNorms, cached_attention
from gemma.gm.kernels._float_matmul import float_matmul
from gemma.gm.kernels._library import available, give_back_memory, instruction_set
from gemma.gm.kernels._packing import (
    GROUP,
    NORMAL_LEVELS,
    SUPER,
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
from gemma.gm.kernels._repacking import repack_tiles
from gemma.gm.kernels._rms_norm import rms_norm
from gemma.gm.kernels._screen import Screen, make_screen, screens_are_used
from gemma.gm.kernels._shortlist import Shortlist, largest, shortlist
from gemma.gm.kernels._slices import empty_aligned, in_slices, pack_in_slices

__all__ = [
    "GROUP",
    "NORMAL_LEVELS",
    "SUPER",
    "TILE",
    "Code",
    "HeadNorms",
    "Packed",
    "PackedKind",
    "PackedWeight",
    "ScaleKind",
    "Screen",
    "Shortlist",
    "available",
    "cached_attention",
    "dequantize",
    "dequantize_rows",
    "empty_aligned",
    "float_matmul",
    "give_back_memory",
    "in_slices",
    "instruction_set",
    "largest",
    "make_screen",
    "pack",
    "pack_in_slices",
    "packed_shapes",
    "quantized_matmul",
    "repack_tiles",
    "rms_norm",
    "screens_are_used",
    "shortlist",
]
