"""Four-bit outlines of the rows of a weight, from which outputs can be bounded.

screen.h says how, and why the bounds hold.

Axes: T tiles of 16 rows, G groups of 32 columns.
"""

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gemma.gm.kernels._library import library, pointer
from gemma.gm.kernels._packing import (
    GROUP,
    TILE,
    PackedKind,
    ScaleKind,
    packed_shape,
)
from gemma.gm.kernels._slices import empty_aligned

_TILES_A_PIECE = 1024


# How an outline is laid out: half a byte a value, and a sixteenth of a byte.
_KIND = PackedKind(4, ScaleKind.HALF, 8)


def outline_shape(num_rows: int, num_columns: int) -> tuple[int, int]:
    """Returns the shape of the outline of a weight."""
    return packed_shape(_KIND, num_rows, num_columns)


def make_outline(
    weight: np.ndarray,
    kind: PackedKind,
    num_columns: int,
    num_threads: int | None = None,
) -> np.ndarray:
    """Returns the outline of a weight, uint8 [T, bytes]; needs the C++ library.

    Args:
      weight: Its tiles, uint8 [T, bytes].
      kind: How it is packed.
      num_columns: Its columns.
      num_threads: By default as many as there are processors.
    """
    loaded = library()
    assert loaded is not None
    tiles, groups = len(weight), -(-num_columns // GROUP)
    out = empty_aligned(outline_shape(tiles * TILE, num_columns), np.uint8)
    numbers = np.array(kind.numbers, np.int64)

    def fill(begin: int) -> None:
        # ctypes lets other Python threads run meanwhile.
        known = loaded.gemma_make_screen(
            *map(pointer, (weight, numbers)),
            *map(ctypes.c_int64, (groups, begin, min(begin + _TILES_A_PIECE, tiles))),
            pointer(out),
        )
        assert known, kind

    with ThreadPoolExecutor(num_threads or os.cpu_count()) as pool:
        list(pool.map(fill, range(0, tiles, _TILES_A_PIECE)))
    return out
