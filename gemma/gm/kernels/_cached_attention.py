"""Attention of new tokens over a key/value cache and themselves, and the cache's update.

From the products with the weights to the product with the output weight everything is
one call on a CPU: norms of queries and keys, rotation, scores, softmax, the new slots.

Axes: B batch, L new tokens, S slots, N query heads, K key/value heads, H head width.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gemma.gm import math
from gemma.gm.kernels._on_cpu import on_cpu

_NO_WINDOW = 1 << 30


class CachedAttention(NamedTuple):
    """What the queries found, and the cache with the new keys and values."""

    out: Float[Array, "B L N H"]
    k: Float[Array, "B K S H"]
    v: Float[Array, "B K S H"]


class HeadNorms(NamedTuple):
    """Scales of the norms of queries and keys, and what is added to the mean square."""

    query: Float[Array, "H"]
    key: Float[Array, "H"]
    eps: float


def cached_attention(
    q_BLNH: Float[Array, "B L N H"],
    k_BLKH: Float[Array, "B L K H"],
    v_BLKH: Float[Array, "B L K H"],
    cache: tuple[Float[Array, "B K S H"], Float[Array, "B K S H"]],
    *,
    begin: Int[Array, "B"],
    end: Int[Array, "B"],
    last_seen: Int[Array, "B L"],
    rope: math.RopeTable,
    norms: HeadNorms | None,
    window: int | None,
    scale: float,
    softcap: float | None,
) -> CachedAttention:
    """Lets new tokens look at what the cache holds and at one another.

    Args:
      q_BLNH: Queries, neither normalised nor rotated.
      k_BLKH: Keys of the same tokens, likewise.
      v_BLKH: Their values.
      cache: Keys and values of earlier tokens; see `math.slot_positions`. With a
        donated cache, it is updated in place. New keys and values are rounded to its
        dtype before queries look at them.
      begin: Tokens of each row in the cache.
      end: The same after these: `end - begin` of the new ones are real, padding follows.
      last_seen: The last place that each token looks at: its own, or the end of an
        image that it is part of.
      rope: Rotations of the tokens.
      norms: Norms of queries and keys, or None.
      window: On sliding layers, the number of keys seen, the query's own included.
      scale: Factor on the scores.
      softcap: Cap on the scores.

    Returns:
      What each query finds, anything for padding; and the new cache.
    """
    options = {"window": window, "scale": scale, "softcap": softcap}
    eps = 0.0 if norms is None else norms.eps
    places = begin, end, last_seen
    arrays = (q_BLNH, k_BLKH, v_BLKH, *cache, *places, rope.cos, rope.sin)
    gains = ()
    if norms is not None:
        gains = tuple(gain.astype(jnp.float32) for gain in norms[:2])
    reference = functools.partial(_reference, eps=eps, **options)
    if q_BLNH.size == 0:
        return CachedAttention(q_BLNH, *cache)
    is_kept = cache[0].dtype in (jnp.float32, jnp.float16)
    if q_BLNH.dtype != jnp.float32 or not is_kept:
        return reference(*arrays, *gains)
    call = functools.partial(_call, eps=eps, **options)
    return on_cpu(call, reference)(*arrays, *gains)


def _call(
    q, k, v, k_cache, v_cache, begin, end, last_seen, cos, sin, *gains,
    eps, window, scale, softcap,
) -> CachedAttention:  # fmt: skip
    if not gains:
        gains = (jnp.zeros([0], jnp.float32),) * 2
    shapes = (jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (q, k_cache, v_cache))
    call = jax.ffi.ffi_call(
        "gemma_cached_attention",
        tuple(shapes),
        vmap_method="sequential",
        input_output_aliases={10: 1, 11: 2},
    )
    arrays = (q, k, v, *gains, cos, sin, begin, end, last_seen, k_cache, v_cache)
    return CachedAttention(
        *call(
            *arrays,
            window=np.int64(window or _NO_WINDOW),
            scale=np.float32(scale),
            softcap=np.float32(softcap or 0.0),
            epsilon=np.float32(eps),
        )
    )


def _reference(
    q, k, v, k_cache, v_cache, begin, end, last_seen, cos, sin, *gains,
    eps, window, scale, softcap,
) -> CachedAttention:  # fmt: skip
    if gains:
        q, k = (
            math.rms_norm(x, gain, eps=eps)
            for x, gain in zip((q, k), gains, strict=True)
        )
    rope = math.RopeTable(cos, sin)
    q, k = math.apply_rope(q, rope), math.apply_rope(k, rope)
    positions = begin[:, None] + jnp.arange(q.shape[1], dtype=jnp.int32)[None]
    valid = positions < end[:, None]
    kept = k_cache.dtype
    k, v = (math.saturate(x, kept).transpose(0, 2, 1, 3) for x in (k, v))
    new = math.Keys(
        k=k.astype(q.dtype),
        v=v.astype(q.dtype),
        positions=jnp.where(valid, positions, -1),
    )
    cached = math.Keys(
        k_cache.astype(q.dtype),
        v_cache.astype(q.dtype),
        math.slot_positions(begin, k_cache.shape[2]),
    )
    queries = math.Queries(q, positions, last_seen)
    out = math.blockwise_attention(
        queries, new, cached, begin, window=window, scale=scale, softcap=softcap
    )
    put = functools.partial(
        math.put, positions=positions, valid=_after(valid, out), end=end
    )
    return CachedAttention(out, put(k_cache, k), put(v_cache, v))


def _after(valid: Array, out: Array) -> Array:
    """Returns `valid`, made to depend on a value that comes after all reads of the cache.

    XLA then writes the new keys and values in place. Otherwise it may write before it
    reads, and copies the whole cache of the layer in each step. A barrier does not
    help: XLA on CPU drops it before it decides about copies. The dependency is a
    comparison that never holds.
    """
    never = out[0, 0, 0, 0].astype(jnp.float32) < -3e38
    return valid & ~never
