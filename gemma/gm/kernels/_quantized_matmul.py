"""Products with packed weights: C++ on a CPU, dequantization and XLA elsewhere.

Axes: N rows of the weight (outputs), K columns, R rows of activations, T tiles of 16
rows, G groups of 32 columns, S groups of 256, P vectors.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from gemma.gm.kernels._on_cpu import on_cpu
from gemma.gm.kernels._packing import (
    NORMAL_LEVELS,
    STEPS,
    SUPER,
    TILE,
    Code,
    PackedKind,
    ScaleKind,
    tile_layout,
)


class PackedWeight(NamedTuple):
    """A packed weight: its tiles, how they are packed, and its size."""

    tiles: UInt8[Array, "T bytes"]
    kind: PackedKind
    num_rows: int
    num_columns: int


def quantized_matmul(
    x: Float[Array, "R K"], *weights: PackedWeight
) -> tuple[Float[Array, "R _"], ...]:
    """Returns `x w^T` in float32 for each of several weights.

    On a CPU with kernels, activations are rounded to 8 bits by groups of 32, once for
    all weights, and a row of the result does not depend on the other rows, to the last
    bit.
    """

    def reference(x: Array, *all_tiles: Array) -> tuple[Array, ...]:
        pairs = zip(weights, all_tiles, strict=True)
        rebuilt = (weight._replace(tiles=tiles) for weight, tiles in pairs)
        return tuple(x @ dequantize(weight).T for weight in rebuilt)

    def call(x: Array, *all_tiles: Array) -> tuple[Array, ...]:
        outs = tuple(
            jax.ShapeDtypeStruct((x.shape[0], weight.num_rows), jnp.float32)
            for weight in weights
        )
        kinds = np.array([weight.kind.numbers for weight in weights], np.int64)
        product = jax.ffi.ffi_call(
            "gemma_quantized_matmul", outs, vmap_method="sequential"
        )
        return tuple(product(x, *all_tiles, kinds=kinds.reshape(-1)))

    all_tiles = (weight.tiles for weight in weights)
    return on_cpu(call, reference)(x.astype(jnp.float32), *all_tiles)


def dequantize(weight: PackedWeight) -> Float[Array, "N K"]:
    """Returns the values of a packed weight."""
    return dequantize_rows(weight, jnp.arange(weight.num_rows, dtype=jnp.int32))


def dequantize_rows(weight: PackedWeight, rows: Int[Array, "N"]) -> Float[Array, "N K"]:
    """Returns the values of some rows of a packed weight."""
    kind, T = weight.kind, len(weight.tiles)
    values, scales, supers = tile_layout(kind, weight.num_columns).split(weight.tiles)
    G = scales.shape[1]
    tile, lane = rows // TILE, rows % TILE
    planes = values.reshape(T, G, -1, TILE, 4)[tile, :, :, lane]  # [N, G, P, 4]
    q = _unpack(kind.bits, planes)
    if kind.code is Code.NORMAL:
        q = jnp.asarray(NORMAL_LEVELS)[q]
    columns = (q.astype(jnp.float32) - kind.zero).reshape(len(rows), G, 2, 16)
    if kind.has_supers:
        pairs = scales.reshape(T, G, 2, TILE)[tile, :, :, lane]
        factors = supers.reshape(T, -1, 2, TILE, 2)[tile, :, :, lane]
        w = _scale_by_supers(kind.scale, columns, pairs, _floats(factors))
    else:
        halves = _floats(scales.reshape(T, G, -1, TILE, 2)[tile, :, :, lane])
        w = columns * halves[:, :, :1, None]
        if kind.scale is ScaleKind.HALF_MINIMUM:
            w = w - halves[:, :, 1:, None]
    return w.reshape(len(rows), -1)[:, : weight.num_columns]


def _scale_by_supers(
    scale: ScaleKind,
    columns: Float[Array, "N G 2 16"],
    pairs: UInt8[Array, "N G 2"],
    factors: Float[Array, "N S 2"],
) -> Float[Array, "N G 2 16"]:
    factors = jnp.repeat(factors, SUPER, axis=1)[:, : pairs.shape[1]]
    if scale is ScaleKind.SUPER16:
        signed = jax.lax.bitcast_convert_type(pairs, jnp.int8).astype(jnp.float32)
        return columns * (factors[:, :, :1] * signed)[..., None]
    step, minimum = jnp.split(factors * pairs.astype(jnp.float32), 2, axis=2)
    return columns * step[..., None] - minimum[..., None]


def _unpack(bits: int, planes: UInt8[Array, "N G P 4"]) -> UInt8[Array, "N G 8 4"]:
    """Puts the bits of each value together; undoes the packing."""
    if bits == 8:
        return planes
    q, extra = _low_bits(planes[:, :, :4]), bits - 4
    if extra:
        shifts = jnp.arange(0, 8, extra, dtype=jnp.uint8)[None, None, None, :, None]
        high = (planes[:, :, 4:, None, :] >> shifts) & ((1 << extra) - 1)
        q = q | (high.reshape(q.shape) << 4)
    return q


def _low_bits(planes: UInt8[Array, "N G 4 4"]) -> UInt8[Array, "N G 8 4"]:
    """Returns the nibbles of four vectors, in the order of the eight steps."""
    nibbles = jnp.stack([planes & 0x0F, planes >> 4], axis=3)
    return nibbles.reshape(*planes.shape[:2], STEPS, 4)


def _floats(halves: UInt8[Array, "*shape 2"]) -> Float[Array, "*shape"]:
    bits = jax.lax.bitcast_convert_type(halves, jnp.float16)
    return bits.astype(jnp.float32)
