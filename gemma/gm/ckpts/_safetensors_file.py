"""One safetensors file.

Reference: https://huggingface.co/docs/safetensors, "Format": the length of the header in
eight bytes, the header in JSON, and the tensors.
"""

import dataclasses
import json
import math
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._foreign import IS_LFS_POINTER, is_lfs_pointer
from gemma.gm.ckpts._mapped_file import MappedFile

# As the files call them.
NARROW = {"F16": np.dtype(np.float16), "BF16": np.dtype(ml_dtypes.bfloat16)}
FLOATS = {**NARROW, "F32": np.dtype(np.float32), "F64": np.dtype(np.float64)}
BYTES = "U8"
_DTYPES = {**FLOATS, BYTES: np.dtype(np.uint8)}
NAMES = {dtype: name for name, dtype in _DTYPES.items()}

IS_PICKLE = (
    "is a pickle, which can run code when it is opened and is not read: take the "
    "model's .safetensors files, or convert it to safetensors where that is safe."
)


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """What a file says of a tensor.

    Attributes:
      dtype: As the file calls it.
      shape: Its shape.
      offset: Where its bytes begin, in the file.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int


class SafetensorsFile:
    """An open file.

    Its own library checks it, but would read a tensor in pages that count as memory of
    the process until the file is closed, and copy it to where JAX copies it again.

    Attributes:
      path: The file.
      tensors: What it holds, by name.
    """

    path: Path
    tensors: dict[str, StoredTensor]

    def __init__(self, path: Path):
        self.path = path
        _check(path)
        self._file = MappedFile(path)
        data_begin = 8 + int.from_bytes(self._file.data[:8], "little")
        header = json.loads(self._file.data[8:data_begin])
        header.pop("__metadata__", None)
        self.tensors = {
            name: StoredTensor(
                found["dtype"],
                tuple(found["shape"]),
                data_begin + found["data_offsets"][0],
            )
            for name, found in header.items()
        }
        self._file.give_back(0, data_begin)

    def read_into(self, name: str, out: np.ndarray, begin: int) -> None:
        """Reads rows of a tensor, from `begin` on, and converts them to those of `out`.

        Args:
          name: A tensor of floats or bytes, of at least one axis.
          out: As many rows as are wanted, of any dtype.
          begin: The first row.
        """
        tensor = self.tensors[name]
        dtype = _DTYPES[tensor.dtype]
        place = tensor.offset + begin * math.prod(tensor.shape[1:]) * dtype.itemsize
        num_bytes = out.size * dtype.itemsize
        rows = self._file.view(place, num_bytes).view(dtype).reshape(out.shape)
        np.copyto(out, rows, casting="unsafe")
        self._file.give_back(place, num_bytes)


def _check(path: Path) -> None:
    """Refuses what is no safetensors file, or not a whole one."""
    try:
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        if is_lfs_pointer(path):
            raise CheckpointError(f"{path} {IS_LFS_POINTER}") from None
        if _is_pickle(path):
            raise CheckpointError(f"{path} {IS_PICKLE}") from None
        raise CheckpointError(
            f"{path} is truncated or not a safetensors file: {error}"
        ) from None


def _is_pickle(path: Path) -> bool:
    """Whether a file that is no safetensors file begins as pickles do, zipped or not."""
    with open(path, "rb") as file:
        begin = file.read(8)
    # The length of a header may begin with the same two bytes, but no pickle begins
    # with the length of a header that the file has room for.
    is_bare = begin[:1] == b"\x80" and begin[1:2] <= b"\x05"
    is_length = int.from_bytes(begin, "little") <= path.stat().st_size
    return begin.startswith(b"PK\x03\x04") or (is_bare and not is_length)
