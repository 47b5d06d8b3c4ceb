"""What every format reader offers: tensors by their name in the file."""

from pathlib import Path
from typing import Protocol

import numpy as np

from gemma.gm.kernels import Packed, PackedKind
from gemma.gm.typing import DType


class TensorReader(Protocol):
    """Tensors on disk, read one at a time so that memory holds no second copy."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor, rows first, as stored."""
        ...

    def read(self, name: str, dtype: DType) -> np.ndarray:
        """Returns one tensor, converted to `dtype`."""
        ...

    def packed_kind(self, name: str) -> PackedKind | None:
        """Returns how kernels can hold the tensor as it is stored; None if not."""
        ...

    def read_packed(self, name: str) -> Packed:
        """Returns a tensor that has a packed kind, with the values of the file."""
        ...

    def file_of(self, name: str) -> Path:
        """Returns the file that holds the tensor, for error messages."""
        ...


def empty_aligned(shape: tuple[int, ...], dtype: DType) -> np.ndarray:
    """Returns an uninitialised array that JAX on CPU can adopt without a copy."""
    alignment = 64  # XLA copies a host buffer that is less aligned
    dtype = np.dtype(dtype)
    num_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    buffer = np.empty(num_bytes + alignment, np.uint8)
    begin = -buffer.ctypes.data % alignment
    return buffer[begin : begin + num_bytes].view(dtype).reshape(shape)
