"""What XLA does badly on a CPU, in C++, each with a plain reference."""

from typing import TYPE_CHECKING

from gemma.gm._lazy import lazily
from gemma.gm.kernels._library import available, give_back_memory, instruction_set
from gemma.gm.kernels._outline import make_outline, outline_shape
from gemma.gm.kernels._packing import (
    GROUP,
    NORMAL_LEVELS,
    SUPER,
    TILE,
    Code,
    PackedKind,
    ScaleKind,
    pack,
    packed_shape,
    tile_layout,
)
from gemma.gm.kernels._repacking import repack_tiles
from gemma.gm.kernels._slices import empty_aligned, in_slices, pack_in_slices
from gemma.gm.kernels._string_runs import copy_strings, find_strings

if TYPE_CHECKING:
    from gemma.gm.kernels._cached_attention import HeadNorms, cached_attention
    from gemma.gm.kernels._exchange import (
        ALONE,
        Exchange,
        await_reply,
        can_exchange,
        hand_over,
    )
    from gemma.gm.kernels._float_matmul import float_matmul
    from gemma.gm.kernels._quantized_matmul import (
        PackedWeight,
        dequantize,
        dequantize_rows,
        quantized_matmul,
    )
    from gemma.gm.kernels._rms_norm import rms_norm
    from gemma.gm.kernels._screen import Screen, screens_are_used
    from gemma.gm.kernels._shortlist import Shortlist, largest, shortlist

__getattr__ = lazily(
    __name__,
    {
        "ALONE": "_exchange",
        "Exchange": "_exchange",
        "HeadNorms": "_cached_attention",
        "PackedWeight": "_quantized_matmul",
        "Screen": "_screen",
        "Shortlist": "_shortlist",
        "await_reply": "_exchange",
        "cached_attention": "_cached_attention",
        "can_exchange": "_exchange",
        "dequantize": "_quantized_matmul",
        "dequantize_rows": "_quantized_matmul",
        "float_matmul": "_float_matmul",
        "hand_over": "_exchange",
        "largest": "_shortlist",
        "quantized_matmul": "_quantized_matmul",
        "rms_norm": "_rms_norm",
        "screens_are_used": "_screen",
        "shortlist": "_shortlist",
    },
)

__all__ = [
    "ALONE",
    "GROUP",
    "NORMAL_LEVELS",
    "SUPER",
    "TILE",
    "Code",
    "Exchange",
    "HeadNorms",
    "PackedKind",
    "PackedWeight",
    "ScaleKind",
    "Screen",
    "Shortlist",
    "available",
    "await_reply",
    "cached_attention",
    "can_exchange",
    "copy_strings",
    "dequantize",
    "dequantize_rows",
    "empty_aligned",
    "find_strings",
    "float_matmul",
    "give_back_memory",
    "hand_over",
    "in_slices",
    "instruction_set",
    "largest",
    "make_outline",
    "outline_shape",
    "pack",
    "pack_in_slices",
    "packed_shape",
    "quantized_matmul",
    "repack_tiles",
    "rms_norm",
    "screens_are_used",
    "shortlist",
    "tile_layout",
]
