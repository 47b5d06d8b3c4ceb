"""The largest outputs of a weight, exactly, while most of it is read through a screen.

shortlist.cc says how.

Axes: R rows, K columns, V outputs, W words of 32 of them, C capacity.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from gemma.gm import math
from gemma.gm.kernels._on_cpu import on_cpu
from gemma.gm.kernels._quantized_matmul import PackedWeight, dequantize
from gemma.gm.kernels._screen import Screen


class Shortlist(NamedTuple):
    """Outputs that include the largest, by ascending id.

    Attributes:
      ids: Which outputs; -1 fills up.
      outputs: Theirs, as in the full product; what fills up is -inf.
    """

    ids: Int[Array, "R C"]
    outputs: Float[Array, "R C"]


def shortlist(
    x: Float[Array, "R K"],
    weight: PackedWeight,
    screen: Screen,
    *,
    allowed: UInt32[Array, "R W"],
    wanted: Int[Array, "R"],
    capacity: int,
    softcap: float | None = None,
) -> Shortlist:
    """Returns the `wanted` largest of `x w^T` that may come, and perhaps some others.

    Args:
      x: Activations.
      weight: A packed weight.
      screen: Its outline: see `make_outline`.
      allowed: Which outputs may come: see `math.unpack_bits`. Others are found only
        where there are fewer than `wanted`.
      wanted: How many, 1 to `capacity`.
      capacity: The most that are returned. Of more outputs that tie with the last
        wanted one, the first.
      softcap: Cap on the outputs when they are compared.

    Returns:
      The outputs themselves, without softcap.
    """

    def call(x: Array, *arrays: Array) -> Shortlist:
        shape = (x.shape[0], capacity)
        outs = tuple(jax.ShapeDtypeStruct(shape, d) for d in (jnp.int32, jnp.float32))
        search = jax.ffi.ffi_call("gemma_shortlist", outs, vmap_method="sequential")
        found = search(
            x,
            *arrays,
            kind=np.array(weight.kind.numbers, np.int64),
            num_outputs=np.int64(weight.num_rows),
            softcap=np.float32(softcap or 0.0),
        )
        return Shortlist(*found)

    def reference(x, *arrays) -> Shortlist:
        tiles, _, allowed, _ = arrays  # as many are returned as there is room for
        w = dequantize(weight._replace(tiles=tiles))
        may_come = math.unpack_bits(allowed, weight.num_rows)
        return largest(x @ w.T, may_come, capacity=capacity, softcap=softcap)

    arrays = (weight.tiles, screen, allowed, wanted)
    return on_cpu(call, reference)(x.astype(jnp.float32), *arrays)


def largest(
    outputs: Float[Array, "R V"],
    may_come: Bool[Array, "R V"],
    *,
    capacity: int,
    softcap: float | None = None,
) -> Shortlist:
    """Returns the largest of outputs that are all there."""
    ranks = outputs if softcap is None else math.softcap(outputs, softcap)
    num = min(capacity, outputs.shape[1])
    _, ids = jax.lax.top_k(jnp.where(may_come, ranks, -jnp.inf), num)
    ids = jnp.sort(ids, axis=1)
    room = ((0, 0), (0, capacity - num))
    return Shortlist(
        jnp.pad(ids, room, constant_values=-1),
        jnp.pad(
            jnp.take_along_axis(outputs, ids, axis=1), room, constant_values=-jnp.inf
        ),
    )
