"""Blocks of GGUF as packed weights: the same integers and scales, in another order.

Reference: the block structures of ggml (ggml-common.h). A block is 32 or 256 columns of
a row. `value = scale * (q - zero) - minimum`.
"""

import enum
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gemma.gm.kernels import (
    TILE,
    PackedKind,
    ScaleKind,
    available,
    pack,
    repack_tiles,
)


class Type(enum.IntEnum):
    """The types of tensors that Gemma files have, as GGUF files number them."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14
    BF16 = 30


class Block(NamedTuple):
    """The blocks that the rows of a tensor are made of: `num_values` in `num_bytes`."""

    name: str
    num_values: int
    num_bytes: int


_SIZES: dict[int, tuple[int, int]] = {
    Type.F32: (1, 4),
    Type.F16: (1, 2),
    Type.BF16: (1, 2),
    Type.Q4_0: (32, 18),
    Type.Q4_1: (32, 20),
    Type.Q5_0: (32, 22),
    Type.Q5_1: (32, 24),
    Type.Q8_0: (32, 34),
    Type.Q4_K: (256, 144),
    Type.Q5_K: (256, 176),
    Type.Q6_K: (256, 210),
}
PACKED_KINDS: dict[int, PackedKind] = {
    Type.Q8_0: PackedKind(8, ScaleKind.HALF, 128),
    Type.Q5_0: PackedKind(5, ScaleKind.HALF, 16),
    Type.Q5_1: PackedKind(5, ScaleKind.HALF_MINIMUM, 0),
    Type.Q4_0: PackedKind(4, ScaleKind.HALF, 8),
    Type.Q4_1: PackedKind(4, ScaleKind.HALF_MINIMUM, 0),
    Type.Q4_K: PackedKind(4, ScaleKind.SUPER, 0),
    Type.Q5_K: PackedKind(5, ScaleKind.SUPER, 0),
    Type.Q6_K: PackedKind(6, ScaleKind.SUPER16, 32),
}


def block_of(number: int) -> Block:
    """Returns the block of a type; raises ValueError if the type is unknown."""
    if number in _SIZES:
        return Block(Type(number).name, *_SIZES[number])
    # Here, because it takes long to import, and no published Gemma file needs it.
    import gguf

    type_ = gguf.GGMLQuantizationType(number)
    return Block(type_.name, *gguf.GGML_QUANT_SIZES[type_])


def repack_into(out: np.ndarray, blocks: np.ndarray, type_: int, rows: range) -> None:
    """Fills in some rows of a packed weight, in C++ where there is a library.

    Args:
      out: The whole weight.
      blocks: uint8 [rows, bytes], of the whole weight.
      type_: One of `PACKED_KINDS`.
      rows: Which; the first is that of a tile, the last that of a tile or of all.
    """
    tiles = range(rows.start // TILE, -(-rows.stop // TILE))
    if available():
        block = block_of(type_)
        num_columns = blocks.shape[1] // block.num_bytes * block.num_values
        repack_tiles(type_, PACKED_KINDS[type_], blocks, num_columns, tiles, out)
    else:
        part = repack(blocks[rows.start : rows.stop], type_)
        out[tiles.start : tiles.stop] = part


def repack(blocks: np.ndarray, type_: int) -> np.ndarray:
    """Returns a packed weight from rows of blocks, made by numpy.

    Args:
      blocks: uint8 [rows, bytes].
      type_: One of `PACKED_KINDS`.
    """
    _, block_bytes = _SIZES[type_]
    rows = blocks.reshape(len(blocks), -1, block_bytes)
    return pack(PACKED_KINDS[type_], *_READERS[type_](rows))


def _q8_0(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    q = rows[..., 2:] ^ 0x80  # int8 + 128
    return q.reshape(len(rows), -1), _half(rows, 0)[..., 0]


def _q4_0(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _nibbles(rows[..., 2:]).reshape(len(rows), -1), _half(rows, 0)[..., 0]


def _q4_1(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _nibbles(rows[..., 4:]).reshape(len(rows), -1), _half_minimum(rows)


def _q5_0(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    q = _nibbles(rows[..., 6:]) | _bit_4(rows[..., 2:6])
    return q.reshape(len(rows), -1), _half(rows, 0)[..., 0]


def _q5_1(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    q = _nibbles(rows[..., 8:]) | _bit_4(rows[..., 4:8])
    return q.reshape(len(rows), -1), _half_minimum(rows)


def _q4_k(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    q = _nibbles(rows[..., 16:].reshape(*rows.shape[:2], 4, 32))
    return q.reshape(len(rows), -1), _six_bits(rows[..., 4:16]), _half(rows, 0, 2)


def _q5_k(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    low = _nibbles(rows[..., 48:].reshape(*rows.shape[:2], 4, 32))
    # Bit g of byte c belongs to column c of group g.
    high = rows[..., None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None] & 1
    q = low.reshape(*rows.shape[:2], 8, 32) | high << 4
    return q.reshape(len(rows), -1), _six_bits(rows[..., 4:16]), _half(rows, 0, 2)


def _q6_k(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    low = _nibbles(rows[..., :128].reshape(*rows.shape[:2], 2, 64))
    # Each half of a block has four runs of 32 columns; run i takes bits 2i, 2i+1.
    high = rows[..., 128:192].reshape(*rows.shape[:2], 2, 1, 32)
    high = high >> np.arange(0, 8, 2, dtype=np.uint8)[:, None] & 3
    q = low.reshape(high.shape) | high << 4
    scales = rows[..., 192:208].reshape(len(rows), -1, 2)
    super_ = _half(rows, 208)
    supers = np.concatenate([super_, np.zeros_like(super_)], axis=-1)
    return q.reshape(len(rows), -1), scales, supers


_READERS: dict[int, Callable[[np.ndarray], tuple]] = {
    Type.Q8_0: _q8_0,
    Type.Q5_0: _q5_0,
    Type.Q5_1: _q5_1,
    Type.Q4_0: _q4_0,
    Type.Q4_1: _q4_1,
    Type.Q4_K: _q4_k,
    Type.Q5_K: _q5_k,
    Type.Q6_K: _q6_k,
}


def _half(rows: np.ndarray, begin: int, count: int = 1) -> np.ndarray:
    """Returns float16 numbers [rows, blocks, count] at a place of each block."""
    halves = np.ascontiguousarray(rows[..., begin : begin + 2 * count])
    return halves.view(np.float16)


def _half_minimum(rows: np.ndarray) -> np.ndarray:
    """Returns scale and minimum: float16 [rows, blocks, 2].

    The file has `scale * q + m`, so the minimum is -m.
    """
    scale, m = np.split(_half(rows, 0, 2), 2, axis=-1)
    return np.concatenate([scale, -m], axis=-1)


def _nibbles(packed: np.ndarray) -> np.ndarray:
    """Returns the low halves of a run of bytes, followed by the high ones."""
    return np.concatenate([packed & 0x0F, packed >> 4], axis=-1)


def _bit_4(packed: np.ndarray) -> np.ndarray:
    """Returns bit i of a run of bytes as bit 4 of byte i."""
    return np.unpackbits(packed, axis=-1, bitorder="little") << 4


def _six_bits(packed: np.ndarray) -> np.ndarray:
    """Returns scale and minimum of the 8 groups of each block: [rows, groups, 2].

    Twelve bytes: the first four hold scales 0-3 and, in their two high bits, the top
    of scales 4-7; the next four hold the minima in the same way; the last four hold
    the low nibbles of scales and minima 4-7.
    """
    a, b, c = np.split(packed, 3, axis=-1)
    scales = np.concatenate([a & 63, c & 15 | (a >> 6) << 4], axis=-1)
    minima = np.concatenate([b & 63, c >> 4 | (b >> 6) << 4], axis=-1)
    return np.stack([scales, minima], axis=-1).reshape(len(packed), -1, 2)
