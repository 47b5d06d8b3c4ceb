"""From GGUF blocks to packed weights in C++: `pack`, without the steps between.

It takes no memory but that of the weight, and little more time than writing it.
"""

import ctypes

import numpy as np

from gemma.gm.kernels._library import library, pointer
from gemma.gm.kernels._packing import TILE, PackedKind, packed_shape

# What the C++ returns if it did nothing: `Error` in repack.cc.
_UNKNOWN_TYPE = 1


def repack_tiles(
    type_number: int,
    kind: PackedKind,
    blocks: np.ndarray,
    num_columns: int,
    tiles: range,
    out: np.ndarray,
) -> None:
    """Fills in some tiles of a packed weight; needs the C++ library.

    Python runs meanwhile, and other tiles may be filled in by other threads.

    Args:
      type_number: The type of the blocks, as GGUF files number them.
      kind: The way to pack: that of the type.
      blocks: All rows, as they lie in the file: uint8 [rows, bytes].
      num_columns: Values of a row.
      tiles: Which tiles of 16 rows.
      out: The whole weight, of `packed_shape`.

    Raises:
      ValueError: The type is unknown, or its rows have another length.
    """
    loaded = library()
    assert loaded is not None
    num_rows, row_bytes = blocks.shape
    assert all(a.dtype == np.uint8 and a.flags.c_contiguous for a in (blocks, out))
    assert out.shape == packed_shape(kind, num_rows, num_columns)
    assert 0 <= tiles.start <= tiles.stop <= -(-num_rows // TILE)
    assert tiles.step == 1
    error = loaded.gemma_repack(
        type_number,
        pointer(blocks),
        *map(ctypes.c_int64, (row_bytes, num_rows, num_columns)),
        *map(ctypes.c_int64, (tiles.start, tiles.stop)),
        pointer(out),
    )
    if error == _UNKNOWN_TYPE:
        raise ValueError(f"GGUF blocks of type {type_number} cannot be packed.")
    if error:
        raise ValueError(
            f"Rows of {row_bytes} bytes do not hold {num_columns} columns in GGUF blocks "
            f"of type {type_number}."
        )
