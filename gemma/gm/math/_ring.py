"""Rings of slots: the token at position p lies in slot p mod S.

So which position a slot holds follows from how many tokens were written.

Axes: B batch, L new tokens, S slots, K key/value heads, H head width.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gemma.gm.typing import DType


def slot_positions(end: Int[Array, "B"], num_slots: int) -> Int[Array, "B S"]:
    """Returns the position that each slot holds: the newest that falls on it, or -1."""
    last = end[:, None] - 1
    slot = jnp.arange(num_slots, dtype=jnp.int32)[None, :]
    return jnp.maximum(last - (last - slot) % num_slots, -1)


def saturate(x: Float[Array, "*dims"], dtype: DType) -> Float[Array, "*dims"]:
    """Returns numbers in a dtype; what is too large for it becomes its largest."""
    if dtype == x.dtype:
        return x
    largest = jnp.finfo(dtype).max.astype(jnp.float32)
    return jnp.clip(x, -largest, largest).astype(dtype)


def put(
    slots_BKSH: Float[Array, "B K S H"],
    new_BKLH: Float[Array, "B K L H"],
    *,
    positions: Int[Array, "B L"],
    valid: Bool[Array, "B L"],
    end: Int[Array, "B"],
) -> Float[Array, "B K S H"]:
    """Puts each valid token into its slot; only the newest of those that share one.

    Numbers too large for the dtype of the slots become its largest.
    """
    B, K, S, _ = slots_BKSH.shape
    kept = valid & (positions >= end[:, None] - S)
    slot_BL = jnp.where(kept, positions % S, S)  # slot S is outside: dropped
    row = jnp.arange(B)[:, None, None]
    head = jnp.arange(K)[None, :, None]
    return slots_BKSH.at[row, head, slot_BL[:, None, :]].set(
        saturate(new_BKLH, slots_BKSH.dtype), mode="drop"
    )
