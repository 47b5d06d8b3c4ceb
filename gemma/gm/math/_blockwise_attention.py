"""Attention over a cache, in as many blocks of keys as are filled.

The formula is that of `dot_product_attention`. What it costs grows with the number of
tokens in the cache and not with the room that the cache has.

Axes: B batch, L query length, S key length, N query heads, K key/value heads,
G = N / K query heads to a key head, H head width, R = G * L rows.
Reference: Milakov and Gimelshein 2018, "Online normalizer calculation for softmax".
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gemma.gm.math._activation import softcap as apply_softcap
from gemma.gm.math._dot_product_attention import HIDDEN, group_queries, ungroup
from gemma.gm.math._mask import attention_mask

_BLOCK = 256


class Keys(NamedTuple):
    """Keys with their values, and the position of each; negative where there is none."""

    k: Float[Array, "B K S H"]
    v: Float[Array, "B K S H"]
    positions: Int[Array, "B S"]


class Queries(NamedTuple):
    """Queries, the place of each, and the last place that it looks at."""

    q: Float[Array, "B L N H"]
    positions: Int[Array, "B L"]
    last_seen: Int[Array, "B L"]


class _Softmax(NamedTuple):
    """A softmax-weighted sum that is not finished: `total / mass`, scaled by e^-peak."""

    peak: Float[Array, "B K R 1"]
    mass: Float[Array, "B K R 1"]
    total: Float[Array, "B K R H"]


def blockwise_attention(
    queries: Queries,
    new: Keys,
    cached: Keys,
    num_cached: Int[Array, "B"],
    *,
    window: int | None,
    scale: float,
    softcap: float | None = None,
) -> Float[Array, "B L N H"]:
    """Returns what the queries find among cached and new keys.

    Args:
      queries: Queries.
      new: Keys of the same tokens.
      cached: Keys of earlier tokens, in slots that fill from the first.
      num_cached: How many tokens each row has cached, possibly more than slots.
      window: On sliding layers, the number of keys seen, the query's own included.
      scale: Factor on the scores.
      softcap: Cap on the scores.
    """
    L, N = queries.q.shape[1:3]
    K, S = cached.k.shape[1:3]
    q_BKRH = group_queries(queries.q, K)

    def over(keys: Keys) -> _Softmax:
        mask_BLS = attention_mask(
            queries.positions,
            keys.positions,
            window=window,
            last_seen=queries.last_seen,
        )
        mask_BKRS = jnp.tile(mask_BLS[:, None], (1, 1, N // K, 1))
        return _softmax_over(q_BKRH, keys, mask_BKRS, scale=scale, softcap=softcap)

    length = min(_BLOCK, S)
    filled = jnp.minimum(jnp.max(num_cached), S)
    out = jax.lax.fori_loop(
        0,
        (filled + length - 1) // length,
        lambda i, out: _merge(out, over(_block(cached, i, length))),
        over(new),
    )
    return ungroup(out.total / out.mass, N, L).astype(queries.q.dtype)


def _block(keys: Keys, index: Int[Array, ""], length: int) -> Keys:
    """Returns keys `index * length` and on; the last block may reach back."""
    S = keys.positions.shape[1]
    begin = jnp.minimum(index * length, S - length)
    k, v = (jax.lax.dynamic_slice_in_dim(x, begin, length, axis=2) for x in keys[:2])
    positions = jax.lax.dynamic_slice_in_dim(keys.positions, begin, length, axis=1)
    is_fresh = begin + jnp.arange(length, dtype=jnp.int32) >= index * length
    return Keys(k, v, jnp.where(is_fresh[None, :], positions, -1))


def _softmax_over(
    q_BKRH: Float[Array, "B K R H"],
    keys: Keys,
    mask_BKRS: Bool[Array, "B 1 R S"],
    *,
    scale: float,
    softcap: float | None,
) -> _Softmax:
    score_BKRS = scale * jnp.einsum(
        "BKRH,BKSH->BKRS", q_BKRH, keys.k, preferred_element_type=jnp.float32
    )
    if softcap is not None:
        score_BKRS = apply_softcap(score_BKRS, softcap)
    score_BKRS = jnp.where(mask_BKRS, score_BKRS, HIDDEN)
    peak = jnp.max(score_BKRS, axis=-1, keepdims=True)
    weight_BKRS = jnp.exp(score_BKRS - peak)
    total = jnp.einsum(
        "BKRS,BKSH->BKRH",
        weight_BKRS.astype(keys.v.dtype),
        keys.v,
        preferred_element_type=jnp.float32,
    )
    return _Softmax(peak, jnp.sum(weight_BKRS, axis=-1, keepdims=True), total)


def _merge(a: _Softmax, b: _Softmax) -> _Softmax:
    peak = jnp.maximum(a.peak, b.peak)
    from_a, from_b = jnp.exp(a.peak - peak), jnp.exp(b.peak - peak)
    return _Softmax(
        peak=peak,
        mass=a.mass * from_a + b.mass * from_b,
        total=a.total * from_a + b.total * from_b,
    )
