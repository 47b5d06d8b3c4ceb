"""GGUF files: metadata and tensors, memory-mapped.

Reference: the GGUF specification, version 3 (ggml, docs/gguf.md). The layouts of the
quantized blocks are those of the `gguf` package. Its reader is not used: it takes ten
seconds over a vocabulary of 262,144 entries.
"""

import dataclasses
import math
import mmap
import os
import struct
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gguf
import ml_dtypes
import numpy as np

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._gguf_blocks import PACKED_KINDS, repack_into
from gemma.gm.kernels import (
    TILE,
    Packed,
    PackedKind,
    empty_aligned,
    packed_shapes,
)
from gemma.gm.typing import DType

_NUMBERS = {
    0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4",
    6: "<f4", 7: "?", 10: "<u8", 11: "<i8", 12: "<f8",
}  # fmt: skip
_NARROW = {
    gguf.GGMLQuantizationType.F16: np.dtype(np.float16),
    gguf.GGMLQuantizationType.BF16: np.dtype(ml_dtypes.bfloat16),
}
_STRING, _ARRAY = 8, 9
_MAX_NESTING = 8
_MAX_DIMS = 8
# Rows are dequantized in slices that stay in the processor's cache. Repacking in C++ has
# no temporary arrays: its slices need only be small beside a weight.
_SLICE_ELEMENTS, _PACKED_SLICE_ELEMENTS = 1 << 18, 1 << 21


@dataclasses.dataclass(frozen=True, slots=True)
class GgufTensor:
    """Where a tensor lies and how it is packed."""

    shape: tuple[int, ...]
    type: gguf.GGMLQuantizationType
    offset: int  # bytes from the start of the file

    @property
    def packed_shape(self) -> tuple[int, ...]:
        """Shape in bytes: the last axis is a row of blocks."""
        block_elements, block_bytes = gguf.GGML_QUANT_SIZES[self.type]
        return (*self.shape[:-1], self.shape[-1] // block_elements * block_bytes)


class GgufFile:
    """An open GGUF file; a `TensorReader`.

    Attributes:
      path: The file.
      metadata: Keys and values; arrays are lists.
      tensors: The tensors by name.
    """

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]

    def __init__(self, path: Path):
        self.path = Path(path)
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise CheckpointError(f"{path} is empty.")
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        cursor = _Cursor(self._bytes, self.path)
        num_tensors, num_keys = _read_header(cursor)
        self.metadata = dict(_read_pair(cursor) for _ in range(num_keys))
        stated = [_read_tensor_info(cursor) for _ in range(num_tensors)]
        self.tensors = self._locate(stated, cursor.place)
        _give_back(self._bytes, 0, cursor.place)

    @property
    def files(self) -> list[Path]:
        """The one file there is."""
        return [self.path]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor, rows first."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    def file_of(self, name: str) -> Path:
        """Returns the one file there is."""
        del name
        return self.path

    def packed(self, name: str) -> np.ndarray:
        """Returns the bytes of a tensor as they lie in the file, without a copy."""
        tensor = self.tensors[name]
        count = math.prod(tensor.packed_shape)
        flat = np.frombuffer(self._bytes, np.uint8, count, tensor.offset)
        return flat.reshape(tensor.packed_shape)

    def read(self, name: str, dtype: DType) -> np.ndarray:
        """Returns the values of a tensor, dequantized as the `gguf` package does."""
        tensor = self.tensors[name]
        packed = self.packed(name).reshape(-1, tensor.packed_shape[-1])
        out = empty_aligned((packed.shape[0], tensor.shape[-1]), dtype)

        def dequantize(rows: range) -> None:
            part = slice(rows.start, rows.stop)
            out[part] = _dequantize(packed[part], tensor.type, name, self.path)

        step = max(1, _SLICE_ELEMENTS // tensor.shape[-1])
        self._for_slices(tensor, step, dequantize)
        return out.reshape(tensor.shape)

    def read_rows(self, name: str, begin: int, end: int) -> np.ndarray:
        """Returns some rows of a tensor, whose last axis is a row."""
        tensor = self.tensors[name]
        packed = self.packed(name).reshape(-1, tensor.packed_shape[-1])
        return _dequantize(packed[begin:end], tensor.type, name, self.path)

    def dtype_of(self, name: str) -> np.dtype:
        """Returns float16 or bfloat16 for a tensor of such numbers, else float32."""
        return _NARROW.get(self.tensors[name].type, np.dtype(np.float32))

    def packed_kind(self, name: str) -> PackedKind | None:
        """Returns how kernels can hold the blocks of a tensor; None if they cannot."""
        return PACKED_KINDS.get(self.tensors[name].type)

    def read_packed(self, name: str) -> Packed:
        """Returns the blocks of a tensor in the layout of the kernels."""
        tensor = self.tensors[name]
        blocks = self.packed(name).reshape(-1, tensor.packed_shape[-1])
        shapes = packed_shapes(PACKED_KINDS[tensor.type], len(blocks), tensor.shape[-1])
        out = Packed(*(empty_aligned(shape, np.uint8) for shape in shapes))

        def fill(rows: range) -> None:
            repack_into(out, blocks, tensor.type, rows)

        tiles = max(1, _PACKED_SLICE_ELEMENTS // tensor.shape[-1] // TILE)
        self._for_slices(tensor, tiles * TILE, fill)
        return out

    def _for_slices(
        self, tensor: GgufTensor, step: int, work: Callable[[range], None]
    ) -> None:
        """Calls `work` with each run of `step` rows of a tensor, in threads.

        The pages of the file that a run was read from are given back after it.
        """
        num_rows, row_bytes = math.prod(tensor.shape[:-1]), tensor.packed_shape[-1]

        def run(begin: int) -> None:
            rows = range(begin, min(begin + step, num_rows))
            work(rows)
            place = tensor.offset + begin * row_bytes
            _give_back(self._bytes, place, len(rows) * row_bytes)

        begins = range(0, num_rows, step)
        if len(begins) == 1:
            run(0)
            return
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(run, begins))

    def _locate(
        self, stated: list[tuple[str, GgufTensor]], header_end: int
    ) -> dict[str, GgufTensor]:
        """Turns offsets into the data section into offsets into the file."""
        alignment = self.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise CheckpointError(f"{self.path}: general.alignment is {alignment!r}.")
        begin = -(-header_end // alignment) * alignment
        tensors = {}
        for name, tensor in stated:
            moved = dataclasses.replace(tensor, offset=begin + tensor.offset)
            end = moved.offset + math.prod(moved.packed_shape)
            if end > len(self._bytes):
                raise CheckpointError(
                    f"{self.path} is truncated: tensor {name!r} ends at byte {end:,} "
                    f"but the file has {len(self._bytes):,}. Download it again."
                )
            tensors[name] = moved
        return tensors


def _give_back(data: mmap.mmap, begin: int, num_bytes: int) -> None:
    """Unmaps the pages of some bytes, which would else count as memory of the process.

    They are mapped again if they are read again, by other threads at the edges.
    """
    if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
        begin_page = begin - begin % mmap.PAGESIZE
        data.madvise(mmap.MADV_DONTNEED, begin_page, begin + num_bytes - begin_page)


def read_gguf_metadata(path: Path) -> Mapping[str, Any]:
    """Returns the metadata of a GGUF file: config and vocabulary."""
    return GgufFile(path).metadata


class _Cursor:
    """A place in the bytes of the file, which moves forward as values are read."""

    def __init__(self, data: mmap.mmap, path: Path):
        self.data, self.path, self.place = data, path, 0

    def take(self, num_bytes: int) -> int:
        """Steps over bytes; returns where they begin."""
        begin = self.place
        if num_bytes > len(self.data) - begin:
            raise CheckpointError(
                f"{self.path} is truncated or damaged: its header asks for "
                f"{num_bytes:,} bytes at {begin:,} of {len(self.data):,}."
            )
        self.place += num_bytes
        return begin

    def number(self, layout: str) -> Any:
        """Reads one number of a `struct` layout."""
        begin = self.take(struct.calcsize(layout))
        return struct.unpack_from(layout, self.data, begin)[0]

    def string(self) -> str:
        """Reads a length and as many bytes of UTF-8."""
        length = self.number("<Q")
        begin = self.take(length)
        return self.data[begin : begin + length].decode("utf-8", errors="replace")

    def numbers(self, layout: str, count: int) -> list:
        """Reads an array of numbers."""
        dtype = np.dtype(layout)
        begin = self.take(count * dtype.itemsize)
        return np.frombuffer(self.data, dtype, count, begin).tolist()

    def strings(self, count: int) -> list[str]:
        """Reads strings one after another; a damaged count fails at the end.

        Does what `string` does in half the time: vocabularies are long.
        """
        data, place, end = self.data, self.place, len(self.data)
        read_length, found = struct.Struct("<Q").unpack_from, []
        for _ in range(count):
            if place + 8 > end:
                break
            begin = place + 8
            place = begin + read_length(data, place)[0]
            if place <= end:
                found.append(data[begin:place].decode("utf-8", errors="replace"))
        self.take(place - self.place + 8 * (count - len(found)))
        return found


def _read_header(cursor: _Cursor) -> tuple[int, int]:
    """Checks that this is a GGUF file; returns its numbers of tensors and keys."""
    magic = cursor.data[cursor.take(4) : 4]
    if magic != b"GGUF":
        raise CheckpointError(
            f"{cursor.path} is not a GGUF file: it begins with {magic!r}."
        )
    version = cursor.number("<I")
    if version not in (2, 3):
        raise CheckpointError(
            f"{cursor.path} is GGUF version {version}; versions 2 and 3 "
            "(little-endian) can be read."
        )
    num_tensors, num_keys = cursor.number("<Q"), cursor.number("<Q")
    # Each takes a dozen bytes at the least: refuse an absurd count before any loop.
    if 12 * (num_tensors + num_keys) > len(cursor.data):
        raise CheckpointError(
            f"{cursor.path} is damaged: it states {num_tensors:,} tensors and "
            f"{num_keys:,} keys in {len(cursor.data):,} bytes."
        )
    return num_tensors, num_keys


def _read_pair(cursor: _Cursor) -> tuple[str, Any]:
    key = cursor.string()
    return key, _read_value(cursor, cursor.number("<I"), key)


def _read_value(cursor: _Cursor, kind: int, key: str, depth: int = 0) -> Any:
    if kind == _STRING:
        return cursor.string()
    if kind in _NUMBERS:
        return cursor.numbers(_NUMBERS[kind], 1)[0]
    if kind != _ARRAY or depth == _MAX_NESTING:
        raise CheckpointError(
            f"{cursor.path} is damaged: key {key!r} has a value of unknown kind {kind}."
        )
    element, count = cursor.number("<I"), cursor.number("<Q")
    if element in _NUMBERS:
        return cursor.numbers(_NUMBERS[element], count)
    if element == _STRING:
        return cursor.strings(count)
    return [_read_value(cursor, element, key, depth + 1) for _ in range(count)]


def _read_tensor_info(cursor: _Cursor) -> tuple[str, GgufTensor]:
    name = cursor.string()
    num_dims = cursor.number("<I")
    if not 1 <= num_dims <= _MAX_DIMS:
        raise CheckpointError(
            f"{cursor.path} is damaged: tensor {name!r} has {num_dims} dimensions."
        )
    # GGUF states the fastest axis first.
    shape = tuple(reversed(cursor.numbers("<u8", num_dims)))
    kind, offset = cursor.number("<I"), cursor.number("<Q")
    try:
        type_ = gguf.GGMLQuantizationType(kind)
    except ValueError:
        raise CheckpointError(
            f"{cursor.path}: tensor {name!r} has block type {kind}, which the "
            "installed gguf package does not know. Try `pip install -U gguf`."
        ) from None
    block_elements = gguf.GGML_QUANT_SIZES[type_][0]
    if not all(shape) or shape[-1] % block_elements:
        raise CheckpointError(
            f"{cursor.path} is damaged: tensor {name!r} of type {type_.name} has "
            f"shape {shape}."
        )
    return name, GgufTensor(shape=shape, type=type_, offset=offset)


def _dequantize(
    packed: np.ndarray, type_: gguf.GGMLQuantizationType, name: str, path: Path
) -> np.ndarray:
    if type_ == gguf.GGMLQuantizationType.F32:
        return packed.view("<f4")
    if type_ in _NARROW:
        return packed.view(_NARROW[type_])
    if type_ == gguf.GGMLQuantizationType.Q8_0:
        return _dequantize_q8_0(packed)
    try:
        return gguf.quants.dequantize(packed, type_)
    except NotImplementedError:
        raise CheckpointError(
            f"{path}: tensor {name!r} is packed as {type_.name}, which the gguf "
            "package cannot dequantize."
        ) from None


def _dequantize_q8_0(packed: np.ndarray) -> np.ndarray:
    """Does what the `gguf` package does, ten times faster: embeddings are this type.

    A block is a half-precision scale and 32 integers.
    """
    blocks = packed.reshape(len(packed), -1, 34)
    scales = blocks[..., :2].view("<f2").astype(np.float32)
    return (blocks[..., 2:].view(np.int8) * scales).reshape(len(packed), -1)
