"""Four-bit outlines of the rows of a weight, from which outputs can be bounded.

screen.h says how, and why the bounds hold.

Axes: V rows of the weight, T tiles of 16 rows, G groups of 32 columns.
"""

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, UInt8

from gemma.gm.kernels._library import available, library, pointer
from gemma.gm.kernels._quantized_matmul import PackedWeight, kind_numbers
from gemma.gm.kernels._slices import empty_aligned

_TILES_A_PIECE = 64


class Screen(NamedTuple):
    """An outline of a weight, a twentieth more than half a byte a value."""

    values: UInt8[Array, "T G 256"]
    scales: UInt8[Array, "T G 32"]


def screens_are_used() -> bool:
    """Returns whether there are kernels that look at screens: on a CPU."""
    return available() and jax.default_backend() == "cpu"


def make_screen(weight: PackedWeight) -> Screen | None:
    """Returns the outline of a weight; None where there are no kernels to use it."""
    loaded = library()
    if loaded is None or not screens_are_used():
        return None
    tiles, groups = weight.scales.shape[:2]
    values = empty_aligned((tiles, groups, 256), np.uint8)
    scales = empty_aligned((tiles, groups, 32), np.uint8)
    arrays = [np.asarray(array) for array in weight.arrays]
    kind = np.array(kind_numbers(weight.kind), np.int64)

    def fill(begin: int) -> None:
        # ctypes lets other Python threads run meanwhile.
        known = loaded.gemma_make_screen(
            *map(pointer, (*arrays, kind)),
            *map(ctypes.c_int64, (groups, begin, min(begin + _TILES_A_PIECE, tiles))),
            *map(pointer, (values, scales)),
        )
        assert known, weight.kind

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill, range(0, tiles, _TILES_A_PIECE)))
    return Screen(jax.device_put(values), jax.device_put(scales))
