"""GGUF files: metadata and tensors, memory-mapped."""

import contextlib
import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._gguf_blocks import (
    PACKED_KINDS,
    Type,
    repack_into,
)
from gemma.gm.ckpts._gguf_header import GgufTensor
from gemma.gm.ckpts._gguf_parts import GgufPart, open_parts
from gemma.gm.hub import part_names
from gemma.gm.kernels import (
    TILE,
    PackedKind,
    empty_aligned,
    packed_shape,
)
from gemma.gm.typing import DType

_NARROW: dict[int, np.dtype] = {
    Type.F16: np.dtype(np.float16),
    Type.BF16: np.dtype(ml_dtypes.bfloat16),
}
# The tensor of the embedding table, which is the head too.
EMBEDDING = "token_embd.weight"
HEAD = "output.weight"
# Rows are dequantized in slices that stay in the processor's cache. Repacking in C++ has
# no temporary arrays: its slices are small beside a large weight, and long enough that
# waiting for the interpreter between them is nothing.
_SLICE_ELEMENTS, _PACKED_SLICE_ELEMENTS = 1 << 18, 1 << 24


class GgufFile:
    """An open GGUF file, with the other parts of one that is split; a `TensorReader`.

    Attributes:
      path: The file, or the first part.
      metadata: Keys and values; of arrays, numbers are numpy's and strings `Strings`.
      tensors: The tensors by name.
    """

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]

    def __init__(self, path: Path):
        """Opens a file.

        Args:
          path: The file, or any part of a split one.

        Raises:
          CheckpointError: The file is damaged, or a part is missing.
        """
        self._parts = open_parts(Path(path))
        self.path = self._parts[0].path
        self.metadata = self._parts[0].metadata
        self.tensors = {n: t for part in self._parts for n, t in part.tensors.items()}
        self._ahead: dict[str, Future[np.ndarray]] = {}

    @property
    def files(self) -> list[Path]:
        """The file, or its parts."""
        return [part.path for part in self._parts]

    @property
    def has_head(self) -> bool:
        """Whether there is a head beside the embedding."""
        return HEAD in self.shapes

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor, rows first."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    def file_of(self, name: str) -> Path:
        """Returns the file, or the part, that holds a tensor."""
        return self._part_of(name).path

    def packed(self, name: str) -> np.ndarray:
        """Returns the bytes of a tensor as they lie in the file, without a copy."""
        tensor = self.tensors[name]
        count = math.prod(tensor.packed_shape)
        data = self._part_of(name).file.view(tensor.offset, count)
        return data.reshape(tensor.packed_shape)

    def read(self, name: str, dtype: DType) -> np.ndarray:
        """Returns the values of a tensor, dequantized as the `gguf` package does."""
        tensor = self.tensors[name]
        packed = self.packed(name).reshape(-1, tensor.packed_shape[-1])
        out = empty_aligned((packed.shape[0], tensor.shape[-1]), dtype)

        def dequantize(rows: range) -> None:
            part = slice(rows.start, rows.stop)
            out[part] = self._dequantize(name, packed[part])

        step = max(1, _SLICE_ELEMENTS // tensor.shape[-1])
        self._for_slices(name, step, dequantize, os.cpu_count() or 1)
        return out.reshape(tensor.shape)

    def read_rows(self, name: str, begin: int, end: int) -> np.ndarray:
        """Returns some rows of a tensor, whose last axis is a row."""
        tensor = self.tensors[name]
        packed = self.packed(name).reshape(-1, tensor.packed_shape[-1])
        return self._dequantize(name, packed[begin:end])

    def dtype_of(self, name: str) -> np.dtype:
        """Returns float16 or bfloat16 for a tensor of such numbers, else float32."""
        return _NARROW.get(self.tensors[name].type, np.dtype(np.float32))

    def packed_kind(self, name: str) -> PackedKind | None:
        """Returns how kernels can hold the blocks of a tensor; None if they cannot."""
        return PACKED_KINDS.get(self.tensors[name].type)

    def read_packed(self, name: str) -> np.ndarray:
        """Returns the blocks of a tensor in the layout of the kernels."""
        with contextlib.suppress(KeyError, CancelledError):
            return self._ahead.pop(name).result()
        return self._repack(name, os.cpu_count() or 1)

    def read_ahead(self) -> None:
        """Begins to do in threads what `read_packed` will be asked for.

        One processor is left to the caller.
        """
        pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1))
        for name in self.tensors:
            if self.packed_kind(name) is not None:
                self._ahead[name] = pool.submit(self._repack, name, num_threads=1)
        pool.shutdown(wait=False)

    def packed_ahead(self, name: str) -> Future[np.ndarray] | None:
        """Returns what `read_packed` will return, if it is being made."""
        return self._ahead.get(name)

    def stop_reading_ahead(self) -> None:
        """Leaves what has not begun."""
        for future in self._ahead.values():
            future.cancel()

    def _repack(self, name: str, num_threads: int) -> np.ndarray:
        tensor = self.tensors[name]
        blocks = self.packed(name).reshape(-1, tensor.packed_shape[-1])
        shape = packed_shape(PACKED_KINDS[tensor.type], len(blocks), tensor.shape[-1])
        out = empty_aligned(shape, np.uint8)

        def fill(rows: range) -> None:
            repack_into(out, blocks, tensor.type, rows)

        tiles = max(1, _PACKED_SLICE_ELEMENTS // tensor.shape[-1] // TILE)
        self._for_slices(name, tiles * TILE, fill, num_threads)
        return out

    def _for_slices(
        self,
        name: str,
        step: int,
        work: Callable[[range], None],
        num_threads: int,
    ) -> None:
        """Calls `work` with each run of `step` rows of a tensor, in so many threads.

        The pages of the file that a run was read from are given back after it.
        """
        tensor, file = self.tensors[name], self._part_of(name).file
        num_rows, row_bytes = math.prod(tensor.shape[:-1]), tensor.packed_shape[-1]

        def run(begin: int) -> None:
            rows = range(begin, min(begin + step, num_rows))
            work(rows)
            place = tensor.offset + begin * row_bytes
            file.give_back(place, len(rows) * row_bytes)

        begins = range(0, num_rows, step)
        if num_threads == 1 or len(begins) == 1:
            for begin in begins:
                run(begin)
            return
        with ThreadPoolExecutor(num_threads) as pool:
            list(pool.map(run, begins))

    def _dequantize(self, name: str, packed: np.ndarray) -> np.ndarray:
        try:
            return _dequantize(packed, self.tensors[name].type)
        except NotImplementedError:
            raise CheckpointError(
                f"{self.file_of(name)}: tensor {name!r} is packed as "
                f"{self.tensors[name].block.name}, which the gguf package cannot "
                "dequantize."
            ) from None

    def _part_of(self, name: str) -> GgufPart:
        return next(part for part in self._parts if name in part.tensors)


def find_gguf(path: Path) -> Path | None:
    """Returns the GGUF file that a path is, or that a folder of no other kind holds.

    Of a split file that is any of its parts.
    """
    if path.is_file():
        return path if path.suffix == ".gguf" or _has_magic(path) else None
    if (path / "config.json").exists():
        return None
    found = (file for file in sorted(path.glob("*.gguf")) if file.is_file())
    files = [file for file in found if not _is_mmproj(file)]
    models = {part_names(file.name) for file in files}
    return files[0] if len(models) == 1 else None


def _has_magic(path: Path) -> bool:
    """Whether a file without the suffix, such as a blob of Ollama, is GGUF."""
    with open(path, "rb") as file:
        return file.read(4) == b"GGUF"


def find_mmproj(path: Path) -> Path | None:
    """Returns the file with the eyes of a GGUF model, the first of several beside it."""
    files = (file for file in sorted(path.parent.glob("*.gguf")) if _is_mmproj(file))
    return next(files, None)


def _is_mmproj(path: Path) -> bool:
    return "mmproj" in path.name.lower()


def read_gguf_metadata(path: Path) -> Mapping[str, Any]:
    """Returns the metadata of a GGUF file: config and vocabulary."""
    return GgufFile(path).metadata


def _dequantize(packed: np.ndarray, type_: int) -> np.ndarray:
    """Returns the values of rows of blocks; raises NotImplementedError."""
    if type_ == Type.F32:
        return packed.view("<f4")
    if type_ in _NARROW:
        return packed.view(_NARROW[type_])
    if type_ == Type.Q8_0:
        return _dequantize_q8_0(packed)
    # Here, because it takes long to import, and packed weights do without.
    import gguf

    return gguf.quants.dequantize(packed, gguf.GGMLQuantizationType(type_))


def _dequantize_q8_0(packed: np.ndarray) -> np.ndarray:
    """Does what the `gguf` package does, ten times faster: embeddings are this type.

    A block is a half-precision scale and 32 integers.
    """
    blocks = packed.reshape(len(packed), -1, 34)
    scales = blocks[..., :2].view("<f2").astype(np.float32)
    return (blocks[..., 2:].view(np.int8) * scales).reshape(len(packed), -1)
