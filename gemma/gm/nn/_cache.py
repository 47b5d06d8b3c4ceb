"""The key/value cache: what attention remembers of the tokens before.

A cache is `{"layer_0": {"k", "v"}, ..., "end": [B]}`, with keys and values of shape
[B, K, S, H] and, for each row, the number of tokens written. The token at position p
lies in slot p mod S: global layers have a slot for each position, local layers are
rings of one window, and of some slots more if tokens are to be taken back: a token that
is written pushes one out. Which position a slot holds follows from `end` alone.

Axes: B batch, L new tokens, S slots, K key/value heads, H head width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from gemma.gm.math import Keys, put, slot_positions
from gemma.gm.nn._config import LayerConfig, TransformerConfig
from gemma.gm.typing import Cache, DType


class NewTokens(NamedTuple):
    """Where the tokens of one call stand.

    Attributes:
      positions: Place of each token in its sequence.
      last_seen: The last place that each token looks at: its own, or the end of an
        image that it is part of.
      valid: False for padding.
      begin: Tokens of each row in the cache before these.
      end: Tokens of each row in the cache once these are written.
      first_seen: The first place that each token looks at, if that is not 0.
      seen: True where a token looks at another, on all layers, instead of all rules.
    """

    positions: Int[Array, "B L"]
    last_seen: Int[Array, "B L"]
    valid: Bool[Array, "B L"]
    begin: Int[Array, "B"]
    end: Int[Array, "B"]
    first_seen: Int[Array, "B L"] | None = None
    seen: Bool[Array, "B L L"] | None = None


def init_cache(
    config: TransformerConfig,
    *,
    batch_size: int,
    cache_length: int,
    rewind_length: int = 0,
    dtype: DType,
) -> Cache:
    """Returns an empty cache for sequences of up to `cache_length` tokens.

    Args:
      config: The model.
      batch_size: Rows.
      cache_length: The most tokens a sequence may have.
      rewind_length: How many tokens can be taken back; see `can_rewind`.
      dtype: Dtype of keys and values.
    """
    lengths = cache_length, rewind_length
    cache: Cache = {
        f"layer_{i}": _init_layer(layer, batch_size, *lengths, dtype)
        for i, layer in enumerate(config.layers)
    }
    return cache | {"end": jnp.zeros([batch_size], jnp.int32)}


def _init_layer(
    layer: LayerConfig,
    batch_size: int,
    cache_length: int,
    rewind_length: int,
    dtype: DType,
) -> dict[str, Array]:
    window = layer.window + rewind_length
    slots = min(cache_length, window) if layer.is_local else cache_length
    shape = (batch_size, layer.num_kv_heads, slots, layer.head_dim)
    return {"k": jnp.zeros(shape, dtype), "v": jnp.zeros(shape, dtype)}


def grow_cache(config: TransformerConfig, cache: Cache, cache_length: int) -> Cache:
    """Returns a cache with the same tokens that has room for more.

    Args:
      config: The model.
      cache: Its cache, which never held more tokens than it has room for.
      cache_length: The most tokens a sequence may have now.
    """
    B, dtype = cache["end"].shape[0], cache["layer_0"]["k"].dtype
    grown = init_cache(config, batch_size=B, cache_length=cache_length, dtype=dtype)

    def grow(old: Array, new: Array) -> Array:
        # Tokens lie in the same slots: a ring that has not turned yet, or stays as it is.
        return jax.lax.dynamic_update_slice(new, old, (0,) * old.ndim)

    return jax.tree.map(grow, cache, grown)


def can_rewind(
    config: TransformerConfig, cache: Cache, *, written: int, length: int
) -> bool:
    """Returns whether a cache still has all that the token at `length` looks at.

    Then `end` may be set back to it. Keys that lie behind are not seen: their slots are
    taken for those of older tokens, which are out of sight.

    Args:
      config: The model.
      cache: Its cache.
      written: How many tokens were written to a row.
      length: How many of them are kept.
    """
    for i, layer in enumerate(config.layers):
        slots = cache[f"layer_{i}"]["k"].shape[2]
        oldest_seen = max(0, length - layer.window + 1) if layer.is_local else 0
        if oldest_seen + slots < written:
            return False
    return True


def read(layer_cache: dict[str, Array], new: NewTokens, dtype: DType) -> Keys:
    """Returns what a layer remembers from before the new tokens."""
    k, v = layer_cache["k"].astype(dtype), layer_cache["v"].astype(dtype)
    return Keys(k, v, slot_positions(new.begin, k.shape[2]))


def write(
    layer_cache: dict[str, Array], keys: Keys, new: NewTokens
) -> dict[str, Array]:
    """Returns the cache of a layer with the keys and values of new tokens."""
    where = {"positions": new.positions, "valid": new.valid, "end": new.end}
    return {
        "k": put(layer_cache["k"], keys.k, **where),
        "v": put(layer_cache["v"], keys.v, **where),
    }
