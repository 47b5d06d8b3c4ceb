"""What every format reader offers: tensors by their name in the file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from gemma.gm.kernels import PackedKind
from gemma.gm.typing import DType


class TensorReader(Protocol):
    """Tensors on disk, read one at a time so that memory holds no second copy."""

    @property
    def files(self) -> Sequence[Path]:
        """The files that hold them."""
        ...

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor, rows first, as stored."""
        ...

    def read(self, name: str, dtype: DType) -> np.ndarray:
        """Returns one tensor, converted to `dtype`."""
        ...

    def dtype_of(self, name: str) -> np.dtype:
        """Returns float16 or bfloat16 for a tensor of such numbers, else float32."""
        ...

    def read_rows(self, name: str, begin: int, end: int) -> np.ndarray:
        """Returns some rows of a matrix, in any float dtype."""
        ...

    def packed_kind(self, name: str) -> PackedKind | None:
        """Returns how kernels can hold the tensor as it is stored; None if not."""
        ...

    def read_packed(self, name: str) -> np.ndarray:
        """Returns a tensor that has a packed kind, with the values of the file."""
        ...

    def file_of(self, name: str) -> Path:
        """Returns the file that holds the tensor, for error messages."""
        ...
