"""The header of a GGUF file: metadata, and where the tensors lie.

Reference: the GGUF specification, version 3 (ggml, docs/gguf.md). The reader of the
`gguf` package is not used: it takes ten seconds over a vocabulary of 262,144 entries.
"""

import dataclasses
import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._foreign import IS_LFS_POINTER, is_lfs_pointer
from gemma.gm.ckpts._gguf_blocks import Block, block_of
from gemma.gm.ckpts._strings import Strings
from gemma.gm.kernels import find_strings

_NUMBERS = {
    0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4",
    6: "<f4", 7: "?", 10: "<u8", 11: "<i8", 12: "<f8",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_MAX_NESTING = 8
_MAX_DIMS = 8

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True, slots=True)
class GgufTensor:
    """Where a tensor lies and how it is packed."""

    shape: tuple[int, ...]
    type: int  # see `block_of`
    offset: int  # bytes from the start of the file

    @property
    def block(self) -> Block:
        """What its rows are made of."""
        return block_of(self.type)

    @property
    def packed_shape(self) -> tuple[int, ...]:
        """Shape in bytes: the last axis is a row of blocks."""
        _, num_values, num_bytes = self.block
        return (*self.shape[:-1], self.shape[-1] // num_values * num_bytes)


class Header(NamedTuple):
    """What stands before the tensors.

    Attributes:
      metadata: Keys and values; of arrays, numbers are numpy's and strings `Strings`.
      tensors: The tensors by name; offsets count from where the data begins.
      num_bytes: Where the header ends.
    """

    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]
    num_bytes: int


def read_header(data: mmap.mmap, path: Path) -> Header:
    """Reads the header of a file; its path is for error messages."""
    cursor = _Cursor(data, path)
    num_tensors, num_keys = _read_counts(cursor)
    metadata = _read_named(cursor, num_keys, _read_pair)
    tensors = _read_named(cursor, num_tensors, _read_tensor_info)
    return Header(metadata, tensors, cursor.place)


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

    def numbers(self, layout: str, count: int) -> np.ndarray:
        """Reads an array of numbers."""
        dtype = np.dtype(layout)
        begin = self.take(count * dtype.itemsize)
        return np.frombuffer(self.data, dtype, count, begin).copy()

    def strings(self, count: int) -> Strings:
        """Reads strings one after another: a length and UTF-8 each."""
        begin = self.place
        self.take(8 * count)  # refuses an absurd count before there is memory for it
        data = np.frombuffer(self.data, np.uint8, offset=begin)
        begins, ends = find_strings(data, count)
        is_whole = len(ends) == count
        num_bytes = int(ends[-1]) if count and is_whole else 0
        self.place = begin
        self.take(num_bytes if is_whole else len(data) + 1)
        return Strings(self.data[begin : begin + num_bytes], begins, ends)


def _read_counts(cursor: _Cursor) -> tuple[int, int]:
    """Checks that this is a GGUF file; returns its numbers of tensors and keys."""
    magic = cursor.data[cursor.take(4) : 4]
    if magic != b"GGUF":
        if is_lfs_pointer(cursor.path):
            raise CheckpointError(f"{cursor.path} {IS_LFS_POINTER}")
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


def _read_named(
    cursor: _Cursor, count: int, read: Callable[[_Cursor], tuple[str, _T]]
) -> dict[str, _T]:
    """Reads so many things that have names of their own."""
    named: dict[str, _T] = {}
    for _ in range(count):
        name, value = read(cursor)
        if name in named:
            raise CheckpointError(f"{cursor.path} is damaged: it has {name!r} twice.")
        named[name] = value
    return named


def _read_pair(cursor: _Cursor) -> tuple[str, Any]:
    key = cursor.string()
    return key, _read_value(cursor, cursor.number("<I"), key)


def _read_value(cursor: _Cursor, kind: int, key: str, depth: int = 0) -> Any:
    if kind == _STRING:
        return cursor.string()
    if kind in _NUMBERS:
        return cursor.numbers(_NUMBERS[kind], 1)[0].item()
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
    shape = tuple(reversed(cursor.numbers("<u8", num_dims).tolist()))
    kind, offset = cursor.number("<I"), cursor.number("<Q")
    try:
        block = block_of(kind)
    except ValueError:
        raise CheckpointError(
            f"{cursor.path}: tensor {name!r} has block type {kind}, which the "
            "installed gguf package does not know. Try `pip install -U gguf`."
        ) from None
    if not all(shape) or shape[-1] % block.num_values:
        raise CheckpointError(
            f"{cursor.path} is damaged: tensor {name!r} of type {block.name} has "
            f"shape {shape}."
        )
    return name, GgufTensor(shape=shape, type=kind, offset=offset)
