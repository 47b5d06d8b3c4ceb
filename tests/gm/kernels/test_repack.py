"""GGUF blocks become packed weights: C++ against numpy, bit for bit, on any bits."""

import gguf
import jax.numpy as jnp
import numpy as np
import pytest

from gemma.gm import kernels
from gemma.gm.ckpts import _gguf_blocks
from gemma.gm.ckpts._gguf_blocks import PACKED_KINDS, repack, repack_into
from gemma.gm.kernels import (
    PackedWeight,
    ScaleKind,
    packed_shape,
)

Type = gguf.GGMLQuantizationType
KINDS = list(map(Type, PACKED_KINDS))
# float16: zeros, the smallest, the largest, infinities and NaNs.
EXTREMES = np.array(
    [0, 0x8000, 1, 0x8001, 0x03FF, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E01, 0xFFFF],
    np.uint16,
)

every_type = pytest.mark.parametrize("type_", KINDS, ids=lambda t: t.name)
needs_library = pytest.mark.skipif(
    not kernels.available(), reason="the kernels were not built: no C++ compiler"
)
# Random bits have infinite scales, and some of them times zero.
any_bits = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def half_places(type_: Type) -> tuple[int, ...]:
    """Returns where the float16 numbers of a block are."""
    if type_ is Type.Q6_K:
        return (208,)
    has_minimum = PACKED_KINDS[type_].scale in (ScaleKind.SUPER, ScaleKind.HALF_MINIMUM)
    return (0, 2) if has_minimum else (0,)


def random_blocks(type_: Type, num_rows: int, num_blocks: int) -> np.ndarray:
    """Returns any bits: every pattern is a block."""
    rng = np.random.default_rng([type_.value, num_rows, num_blocks])
    _, size = gguf.GGML_QUANT_SIZES[type_]
    blocks = rng.integers(0, 256, (num_rows, num_blocks, size), np.uint8)
    for place in half_places(type_):
        extremes = rng.choice(EXTREMES, (num_rows, num_blocks, 1)).view(np.uint8)
        is_extreme = rng.random((num_rows, num_blocks, 1)) < 0.2
        halves = blocks[..., place : place + 2]
        halves[:] = np.where(is_extreme, extremes, halves)
    return blocks.reshape(num_rows, -1)


def finite_blocks(type_: Type, num_rows: int, num_blocks: int) -> np.ndarray:
    """Returns random blocks with finite scales."""
    rng = np.random.default_rng(type_.value)
    _, size = gguf.GGML_QUANT_SIZES[type_]
    blocks = rng.integers(0, 256, (num_rows, num_blocks, size), np.uint8)
    for place in half_places(type_):
        halves = rng.normal(size=(num_rows, num_blocks, 1)).astype(np.float16)
        blocks[..., place : place + 2] = halves.view(np.uint8)
    return blocks.reshape(num_rows, -1)


def empty(type_: Type, blocks: np.ndarray) -> np.ndarray:
    """Returns a weight to fill in, of bytes that nobody would write."""
    shape = packed_shape(PACKED_KINDS[type_], len(blocks), num_columns(type_, blocks))
    return np.full(shape, 0xA5, np.uint8)


def num_columns(type_: Type, blocks: np.ndarray) -> int:
    elements, size = gguf.GGML_QUANT_SIZES[type_]
    return blocks.shape[1] // size * elements


def in_slices(type_: Type, blocks: np.ndarray, num_rows: int) -> np.ndarray:
    """Returns a weight that was filled in slice by slice, the last one first."""
    out = empty(type_, blocks)
    for begin in reversed(range(0, len(blocks), num_rows)):
        rows = range(begin, min(begin + num_rows, len(blocks)))
        repack_into(out, blocks, type_, rows)
    return out


@needs_library
@any_bits
@every_type
@pytest.mark.parametrize("num_blocks", [1, 2, 5])
@pytest.mark.parametrize("num_rows", [1, 15, 16, 17, 40])
def test_bits_are_those_of_numpy(type_, num_rows, num_blocks):
    blocks = random_blocks(type_, num_rows, num_blocks)
    actual = in_slices(type_, blocks, num_rows)
    np.testing.assert_array_equal(actual, repack(blocks, type_))


@needs_library
@any_bits
@every_type
def test_slices_are_the_whole(type_):
    blocks = random_blocks(type_, 150, 3)
    expected = in_slices(type_, blocks, 150)
    for num_rows in (16, 32, 96):
        np.testing.assert_array_equal(in_slices(type_, blocks, num_rows), expected)


@any_bits
@every_type
def test_slices_are_the_whole_without_a_library(type_, monkeypatch):
    monkeypatch.setattr(_gguf_blocks, "available", lambda: False)
    blocks = random_blocks(type_, 40, 2)
    actual = in_slices(type_, blocks, 16)
    np.testing.assert_array_equal(actual, repack(blocks, type_))


@needs_library
@every_type
@pytest.mark.parametrize("num_rows", [1, 16, 37])
def test_values_are_those_of_the_file(type_, num_rows):
    """Bit for bit what the gguf package makes of the same blocks."""
    blocks = finite_blocks(type_, num_rows, 3)
    tiles = jnp.asarray(in_slices(type_, blocks, 16))
    weight = PackedWeight(
        tiles, PACKED_KINDS[type_], num_rows, num_columns(type_, blocks)
    )
    actual = kernels.dequantize(weight)
    np.testing.assert_array_equal(actual, gguf.quants.dequantize(blocks, type_))


@needs_library
@pytest.mark.parametrize("type_number", [Type.Q2_K.value, 999])
def test_unknown_types_are_refused(type_number):
    kind = PACKED_KINDS[Type.Q4_K]
    blocks = np.zeros((16, 144), np.uint8)
    out = np.zeros(packed_shape(kind, 16, 256), np.uint8)
    with pytest.raises(ValueError, match=f"type {type_number} cannot be packed"):
        kernels.repack_tiles(type_number, kind, blocks, 256, range(1), out)


@needs_library
def test_rows_of_another_length_are_refused():
    type_ = KINDS[0]
    blocks = finite_blocks(type_, 16, 4)
    out = empty(type_, blocks)
    with pytest.raises(ValueError, match="135 bytes do not hold 128 columns"):
        kernels.repack_tiles(
            type_.value, PACKED_KINDS[type_], blocks[:, 1:].copy(), 128, range(1), out
        )
