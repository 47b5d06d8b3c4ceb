"""Four-bit outlines of the rows of a weight, from which outputs can be bounded.

screen.h says how, and why the bounds hold.

Axes: T tiles of 16 rows, G groups of 32 columns.
"""

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from gemma.gm.kernels._library import library, pointer
from gemma.gm.kernels._packing import Packed, PackedKind
from gemma.gm.kernels._slices import empty_aligned

_TILES_A_PIECE = 1024


class Outline(NamedTuple):
    """An outline of a weight, a twentieth more than half a byte a value."""

    values: np.ndarray  # uint8 [T, G, 256]
    scales: np.ndarray  # uint8 [T, G, 32]


def make_outline(
    weight: Packed, kind: PackedKind, num_threads: int | None = None
) -> Outline:
    """Returns the outline of a weight; needs the C++ library.

    Args:
      weight: Its arrays.
      kind: How it is packed.
      num_threads: By default as many as there are processors.
    """
    loaded = library()
    assert loaded is not None
    tiles, groups = weight.scales.shape[:2]
    out = Outline(
        empty_aligned((tiles, groups, 256), np.uint8),
        empty_aligned((tiles, groups, 32), np.uint8),
    )
    numbers = np.array(kind.numbers, np.int64)

    def fill(begin: int) -> None:
        # ctypes lets other Python threads run meanwhile.
        known = loaded.gemma_make_screen(
            *map(pointer, (*weight, numbers)),
            *map(ctypes.c_int64, (groups, begin, min(begin + _TILES_A_PIECE, tiles))),
            *map(pointer, out),
        )
        assert known, kind

    with ThreadPoolExecutor(num_threads or os.cpu_count()) as pool:
        list(pool.map(fill, range(0, tiles, _TILES_A_PIECE)))
    return out
