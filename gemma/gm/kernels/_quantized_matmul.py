"""Products with packed weights: C++ on a CPU, dequantization and XLA elsewhere.

Axes: N rows of the weight (outputs), K columns, R rows of activations, T tiles of 16
rows, G groups of 32 columns, S groups of 256, P vectors.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from gemma.gm.kernels._library import available
from gemma.gm.kernels._packing import STEPS, SUPER, TILE, PackedKind, ScaleKind


def quantized_matmul(
    x: Float[Array, "R K"],
    values: UInt8[Array, "T G bytes"],
    scales: UInt8[Array, "T G 32"],
    supers: UInt8[Array, "T S 64"],
    *,
    kind: PackedKind,
    num_rows: int,
) -> Float[Array, "R N"]:
    """Returns `x w^T` in float32.

    On a CPU with kernels, activations are rounded to 8 bits by groups of 32, and a row
    of the result does not depend on the other rows, to the last bit.
    """
    product = functools.partial(_reference, kind=kind, num_rows=num_rows)
    arrays = x.astype(jnp.float32), values, scales, supers
    if not available():
        return product(*arrays)
    call = functools.partial(_call, kind=kind, num_rows=num_rows)
    return jax.lax.platform_dependent(*arrays, cpu=call, default=product)


def _call(
    x: Array, values: Array, scales: Array, supers: Array, *, kind, num_rows
) -> Array:
    out = jax.ShapeDtypeStruct((x.shape[0], num_rows), jnp.float32)
    call = jax.ffi.ffi_call("gemma_quantized_matmul", out, vmap_method="sequential")
    return call(
        x,
        values,
        scales,
        supers,
        bits=np.int64(kind.bits),
        scale_kind=np.int64(kind.scale),
        zero=np.int64(kind.zero),
    )


def _reference(
    x: Array, values: Array, scales: Array, supers: Array, *, kind, num_rows
) -> Array:
    w = dequantize(
        values, scales, supers, kind=kind, num_rows=num_rows, num_columns=x.shape[1]
    )
    return x @ w.T


def dequantize(
    values: UInt8[Array, "T G bytes"],
    scales: UInt8[Array, "T G 32"],
    supers: UInt8[Array, "T S 64"],
    *,
    kind: PackedKind,
    num_rows: int,
    num_columns: int,
) -> Float[Array, "N K"]:
    """Returns the values of a packed weight."""
    rows = jnp.arange(num_rows, dtype=jnp.int32)
    return dequantize_rows(
        values, scales, supers, rows, kind=kind, num_columns=num_columns
    )


def dequantize_rows(
    values: UInt8[Array, "T G bytes"],
    scales: UInt8[Array, "T G 32"],
    supers: UInt8[Array, "T S 64"],
    rows: Int[Array, "N"],
    *,
    kind: PackedKind,
    num_columns: int,
) -> Float[Array, "N K"]:
    """Returns the values of some rows of a packed weight."""
    tile, lane = rows // TILE, rows % TILE
    T, G = values.shape[:2]
    planes = values.reshape(T, G, -1, TILE, 4)[tile, :, :, lane]  # [N, G, P, 4]
    q = _unpack(kind, planes).astype(jnp.float32) - kind.zero
    columns = q.reshape(len(rows), G, 2, 16)
    if kind.scale is ScaleKind.HALF:
        halves = _floats(scales.reshape(T, G, TILE, 2)[tile, :, lane])
        w = columns * halves[:, :, None, None]
    else:
        w = _scale_by_supers(kind, columns, scales, supers, tile, lane)
    return w.reshape(len(rows), -1)[:, :num_columns]


def _scale_by_supers(
    kind: PackedKind,
    columns: Float[Array, "N G 2 16"],
    scales: Array,
    supers: Array,
    tile: Array,
    lane: Array,
) -> Float[Array, "N G 2 16"]:
    T, G = scales.shape[:2]
    pairs = scales.reshape(T, G, 2, TILE)[tile, :, :, lane]  # [N, G, 2]
    factors = _floats(supers.reshape(T, -1, 2, TILE, 2)[tile, :, :, lane])  # [N, S, 2]
    factors = jnp.repeat(factors, SUPER, axis=1)[:, :G]
    if kind.scale is ScaleKind.SUPER16:
        signed = jax.lax.bitcast_convert_type(pairs, jnp.int8).astype(jnp.float32)
        return columns * (factors[:, :, :1] * signed)[..., None]
    scale, minimum = jnp.split(factors * pairs.astype(jnp.float32), 2, axis=2)
    return columns * scale[..., None] - minimum[..., None]


def _unpack(
    kind: PackedKind, planes: UInt8[Array, "N G P 4"]
) -> UInt8[Array, "N G 8 4"]:
    """Puts the bits of each value together; undoes `_planes` of the packing."""
    if kind.bits == 8:
        return planes
    low = jnp.stack([planes[:, :, :4] & 0x0F, planes[:, :, :4] >> 4], axis=3)
    q = low.reshape(*planes.shape[:2], STEPS, 4)
    extra = kind.bits - 4
    if extra:
        shifts = jnp.arange(0, 8, extra, dtype=jnp.uint8)[None, None, None, :, None]
        high = (planes[:, :, 4:, None, :] >> shifts) & ((1 << extra) - 1)
        q = q | (high.reshape(q.shape) << 4)
    return q


def _floats(halves: UInt8[Array, "*shape 2"]) -> Float[Array, "*shape"]:
    bits = jax.lax.bitcast_convert_type(halves, jnp.float16)
    return bits.astype(jnp.float32)
