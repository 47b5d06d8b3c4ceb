"""The key/value cache: what attention remembers of the tokens before.

A cache is `{"layer_0": {"k", "v"}, ..., "end": [B]}`, with keys and values of shape
[B, K, S, H] and, for each row, the number of tokens written. The token at position p
lies in slot p mod S: global layers have a slot for each position, local layers are
rings of one window. So which position a slot holds follows from `end` alone.

Axes: B batch, L new tokens, S slots, K key/value heads, H head width.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gemma.gm.nn._config import LayerConfig, TransformerConfig
from gemma.gm.typing import Cache, DType


class NewTokens(NamedTuple):
    """Where the tokens of one call stand.

    Attributes:
      positions: Place of each token in its sequence.
      valid: False for padding.
      end: Tokens of each row in the cache once these are written.
    """

    positions: Int[Array, "B L"]
    valid: Bool[Array, "B L"]
    end: Int[Array, "B"]


class KeysValues(NamedTuple):
    """What the queries of one layer may look at; position -1 marks no key."""

    k: Float[Array, "B K S H"]
    v: Float[Array, "B K S H"]
    positions: Int[Array, "B S"]


def init_cache(
    config: TransformerConfig, *, batch_size: int, cache_length: int, dtype: DType
) -> Cache:
    """Returns an empty cache for sequences of up to `cache_length` tokens."""
    cache: Cache = {
        f"layer_{i}": _init_layer(layer, batch_size, cache_length, dtype)
        for i, layer in enumerate(config.layers)
    }
    return cache | {"end": jnp.zeros([batch_size], jnp.int32)}


def _init_layer(
    layer: LayerConfig, batch_size: int, cache_length: int, dtype: DType
) -> dict[str, Array]:
    slots = min(cache_length, layer.window) if layer.is_local else cache_length
    shape = (batch_size, layer.num_kv_heads, slots, layer.head_dim)
    return {"k": jnp.zeros(shape, dtype), "v": jnp.zeros(shape, dtype)}


def extend(
    layer_cache: dict[str, Array],
    k_BKLH: Float[Array, "B K L H"],
    v_BKLH: Float[Array, "B K L H"],
    new: NewTokens,
) -> tuple[KeysValues, dict[str, Array]]:
    """Writes new keys and values; returns what their queries may see, and the cache.

    A chunk may push out of a ring what its first queries still need. So they look at
    the ring as it was before, followed by the chunk itself. A single token only
    pushes out what has left its window, and looks at the ring after the write: no
    copy of the ring in a decode step.
    """
    slots, num_new = layer_cache["k"].shape[2], k_BKLH.shape[2]
    written = {
        "k": _write(layer_cache["k"], k_BKLH, new),
        "v": _write(layer_cache["v"], v_BKLH, new),
    }
    if num_new == 1:
        return KeysValues(**written, positions=slot_positions(new.end, slots)), written
    begin = new.end - new.valid.sum(axis=1, dtype=jnp.int32)
    chunk_positions = jnp.where(new.valid, new.positions, -1)
    old_positions = slot_positions(begin, slots)
    seen = KeysValues(
        k=jnp.concatenate([layer_cache["k"], k_BKLH], axis=2),
        v=jnp.concatenate([layer_cache["v"], v_BKLH], axis=2),
        positions=jnp.concatenate([old_positions, chunk_positions], axis=1),
    )
    return seen, written


def slot_positions(end: Int[Array, "B"], slots: int) -> Int[Array, "B S"]:
    """Returns the position that each slot holds: the newest that falls on it, or -1."""
    last = end[:, None] - 1
    slot = jnp.arange(slots, dtype=jnp.int32)[None, :]
    return jnp.maximum(last - (last - slot) % slots, -1)


def _write(
    slots_BKSH: Float[Array, "B K S H"],
    new_BKLH: Float[Array, "B K L H"],
    new: NewTokens,
) -> Float[Array, "B K S H"]:
    """Puts each token into its slot; only the newest of those that share one."""
    B, K, S, _ = slots_BKSH.shape
    kept = new.valid & (new.positions >= new.end[:, None] - S)
    slot_BL = jnp.where(kept, new.positions % S, S)  # slot S is outside: dropped
    row = jnp.arange(B)[:, None, None]
    head = jnp.arange(K)[None, :, None]
    return slots_BKSH.at[row, head, slot_BL[:, None, :]].set(
        new_BKLH.astype(slots_BKSH.dtype), mode="drop"
    )
