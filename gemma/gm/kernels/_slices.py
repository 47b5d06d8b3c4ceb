"""Packed weights made a slice of rows at a time, by all cores.

A matrix of billions of values must not lie in memory unpacked, and slices that stay in
the processor's cache are twice as fast.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gemma.gm.kernels._packing import TILE, PackedKind, packed_shape
from gemma.gm.typing import DType

_SLICE_ELEMENTS = 1 << 18


def in_slices(
    num_rows: int, num_columns: int, work: Callable[[int, int], None]
) -> None:
    """Calls `work(begin, end)` for all rows, in slices that begin at whole tiles.

    Args:
      num_rows: Rows in all.
      num_columns: Values of a row, by which a slice has fewer or more rows.
      work: Called from several threads at once.
    """
    step = max(1, _SLICE_ELEMENTS // num_columns // TILE) * TILE

    def one(begin: int) -> None:
        work(begin, min(begin + step, num_rows))

    begins = range(0, num_rows, step)
    if len(begins) == 1:
        one(0)
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(one, begins))


def pack_in_slices(
    kind: PackedKind,
    num_rows: int,
    num_columns: int,
    pack_rows: Callable[[int, int], np.ndarray],
) -> np.ndarray:
    """Returns a packed weight of which `pack_rows(begin, end)` gives some rows."""
    whole = empty_aligned(packed_shape(kind, num_rows, num_columns), np.uint8)

    def fill(begin: int, end: int) -> None:
        whole[begin // TILE : -(-end // TILE)] = pack_rows(begin, end)

    in_slices(num_rows, num_columns, fill)
    return whole


def empty_aligned(shape: tuple[int, ...], dtype: DType) -> np.ndarray:
    """Returns an uninitialised array that JAX on CPU can adopt without a copy."""
    alignment = 64  # XLA copies a host buffer that is less aligned
    dtype = np.dtype(dtype)
    num_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    buffer = np.empty(num_bytes + alignment, np.uint8)
    begin = -buffer.ctypes.data % alignment
    return buffer[begin : begin + num_bytes].view(dtype).reshape(shape)
