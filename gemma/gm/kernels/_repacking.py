"""From GGUF blocks to packed weights in C++: `pack`, without the steps between.

It takes no memory but that of the weight, and little more time than writing it.
"""

import ctypes

import numpy as np

from gemma.gm.kernels._library import library, pointer
from gemma.gm.kernels._packing import GROUP, TILE, Packed, PackedKind, packed_shapes

# What the C++ returns if it did nothing: `Error` in repack.cc.
_UNKNOWN_TYPE = 1


def repack_tiles(
    type_number: int,
    kind: PackedKind,
    blocks: np.ndarray,
    tiles: range,
    out: Packed,
) -> None:
    """Fills in some tiles of a packed weight; needs the C++ library.

    Python runs meanwhile, and other tiles may be filled in by other threads.

    Args:
      type_number: The type of the blocks, as GGUF files number them.
      kind: The way to pack: that of the type.
      blocks: All rows, as they lie in the file: uint8 [rows, bytes].
      tiles: Which tiles of 16 rows.
      out: The arrays of the whole weight, of `packed_shapes`.

    Raises:
      ValueError: The type is unknown, or its rows have another length.
    """
    loaded = library()
    assert loaded is not None
    num_rows, row_bytes = blocks.shape
    num_columns = out.scales.shape[1] * GROUP
    arrays = (blocks, *out)
    assert all(a.dtype == np.uint8 and a.flags.c_contiguous for a in arrays)
    shapes = packed_shapes(kind, num_rows, num_columns)
    assert tuple(array.shape for array in out) == shapes
    assert 0 <= tiles.start <= tiles.stop <= -(-num_rows // TILE)
    assert tiles.step == 1
    error = loaded.gemma_repack(
        type_number,
        pointer(blocks),
        *map(ctypes.c_int64, (row_bytes, num_rows, num_columns)),
        *map(ctypes.c_int64, (tiles.start, tiles.stop)),
        *map(pointer, out),
    )
    if error == _UNKNOWN_TYPE:
        raise ValueError(f"GGUF blocks of type {type_number} cannot be packed.")
    if error:
        raise ValueError(
            f"Rows of {row_bytes} bytes do not hold {num_columns} columns in GGUF blocks "
            f"of type {type_number}."
        )
