"""A checkpoint whose tensors lie in two places."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gemma.gm.ckpts._tensors import TensorReader
from gemma.gm.kernels import PackedKind
from gemma.gm.typing import DType


class JoinedTensors:
    """The tensors of several readers, whose names do not meet; a `TensorReader`."""

    def __init__(self, *readers: TensorReader):
        """Joins readers."""
        self._readers = readers

    @property
    def files(self) -> Sequence[Path]:
        """The files of all."""
        return [file for reader in self._readers for file in reader.files]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor, rows first, as stored."""
        return {n: shape for r in self._readers for n, shape in r.shapes.items()}

    def read(self, name: str, dtype: DType) -> np.ndarray:
        """Returns one tensor, converted to `dtype`."""
        return self._home(name).read(name, dtype)

    def dtype_of(self, name: str) -> np.dtype:
        """Returns float16 or bfloat16 for a tensor of such numbers, else float32."""
        return self._home(name).dtype_of(name)

    def read_rows(self, name: str, begin: int, end: int) -> np.ndarray:
        """Returns some rows of a matrix, in any float dtype."""
        return self._home(name).read_rows(name, begin, end)

    def packed_kind(self, name: str) -> PackedKind | None:
        """Returns how kernels can hold the tensor as it is stored; None if not."""
        return self._home(name).packed_kind(name)

    def read_packed(self, name: str) -> np.ndarray:
        """Returns a tensor that has a packed kind, with the values of the file."""
        return self._home(name).read_packed(name)

    def file_of(self, name: str) -> Path:
        """Returns the file that holds the tensor, for error messages."""
        return self._home(name).file_of(name)

    def _home(self, name: str) -> TensorReader:
        return next(reader for reader in self._readers if name in reader.shapes)
