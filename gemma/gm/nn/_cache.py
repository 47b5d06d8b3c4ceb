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

from gemma.gm.math import Keys
from gemma.gm.nn._config import LayerConfig, TransformerConfig
from gemma.gm.typing import Cache, DType


class NewTokens(NamedTuple):
    """Where the tokens of one call stand.

    Attributes:
      positions: Place of each token in its sequence.
      valid: False for padding.
      begin: Tokens of each row in the cache before these.
      end: Tokens of each row in the cache once these are written.
    """

    positions: Int[Array, "B L"]
    valid: Bool[Array, "B L"]
    begin: Int[Array, "B"]
    end: Int[Array, "B"]


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


def read(layer_cache: dict[str, Array], new: NewTokens, dtype: DType) -> Keys:
    """Returns what a layer remembers from before the new tokens."""
    k, v = layer_cache["k"].astype(dtype), layer_cache["v"].astype(dtype)
    return Keys(k, v, slot_positions(new.begin, k.shape[2]))


def write(
    layer_cache: dict[str, Array], keys: Keys, new: NewTokens
) -> dict[str, Array]:
    """Returns the cache of a layer with the keys and values of new tokens."""
    return {
        "k": _put(layer_cache["k"], keys.k, new),
        "v": _put(layer_cache["v"], keys.v, new),
    }


def slot_positions(end: Int[Array, "B"], slots: int) -> Int[Array, "B S"]:
    """Returns the position that each slot holds: the newest that falls on it, or -1."""
    last = end[:, None] - 1
    slot = jnp.arange(slots, dtype=jnp.int32)[None, :]
    return jnp.maximum(last - (last - slot) % slots, -1)


def _put(
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
