"""Rotary position embedding.

Axes: B batch, L length, N heads, H head width.
Reference: Su et al. 2021, "RoFormer". Halves are paired (i with i + H/2), as in all
published Gemma weights, not neighbours.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class RopeTable(NamedTuple):
    """Cosines and sines of the rotation angles of each position."""

    cos: Float[Array, "B L half"]
    sin: Float[Array, "B L half"]


def rope_table(
    positions: Int[Array, "B L"], *, head_dim: int, theta: float, factor: float = 1.0
) -> RopeTable:
    """Returns the rotations `position / factor * theta**(-2i / head_dim)`.

    Args:
      positions: Place of each token in its sequence, from 0.
      head_dim: Width of a head; even.
      theta: Base of the geometric series of wavelengths.
      factor: Linear stretch of the context: 8 lets a model trained on 4k see 32k.
    """
    exponent = jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim
    frequency = 1.0 / (theta**exponent * factor)
    # float32 always: bfloat16 cannot tell position 257 from 256.
    angle = positions[..., None].astype(jnp.float32) * frequency[None, None, :]
    return RopeTable(cos=jnp.cos(angle), sin=jnp.sin(angle))


def apply_rope(
    x_BLNH: Float[Array, "B L N H"], table: RopeTable
) -> Float[Array, "B L N H"]:
    """Rotates each head by the angles of its position, in float32."""
    cos, sin = table.cos[:, :, None, :], table.sin[:, :, None, :]
    first, second = jnp.split(x_BLNH.astype(jnp.float32), 2, axis=-1)
    rotated = (first * cos - second * sin, second * cos + first * sin)
    return jnp.concatenate(rotated, axis=-1).astype(x_BLNH.dtype)
