"""One attention layer: its weights and what it does with them.

Axes: B batch, L length, S keys, D model width, N query heads, K key/value heads,
H head width.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from gemma.gm.kernels import HeadNorms, cached_attention
from gemma.gm.math import (
    Keys,
    RopeTable,
    apply_rope,
    attention_mask,
    dot_product_attention,
    rms_norm,
)
from gemma.gm.nn._cache import NewTokens, read, write
from gemma.gm.nn._config import LayerConfig
from gemma.gm.typing import Params
from gemma.gm.weights import ParamSpec, einsum, einsums


class AttentionOutput(NamedTuple):
    """What a layer adds to the residual, its cache, and where it looked if asked."""

    x: Float[Array, "B L D"]
    cache: dict[str, Array] | None
    weights: Float[Array, "B N L S"] | None


def attention_specs(config: LayerConfig) -> dict[str, ParamSpec]:
    """Returns the weights of the layer."""
    D, H = config.embed_dim, config.head_dim
    N, K = config.num_heads, config.num_kv_heads
    specs = {
        "q": ParamSpec((N, H, D), axes=("heads", "head", "embed")),
        "k": ParamSpec((K, H, D), axes=("kv_heads", "head", "embed")),
        "v": ParamSpec((K, H, D), axes=("kv_heads", "head", "embed")),
        "o": ParamSpec((D, N, H), axes=("embed", "heads", "head")),
    }
    if config.qk_norm:
        norm = ParamSpec((H,), axes=("head",), init="zeros")
        specs |= {"query_norm": norm, "key_norm": norm}
    return specs


def attention(
    params: Params,
    config: LayerConfig,
    x_BLD: Float[Array, "B L D"],
    *,
    rope: RopeTable,
    new: NewTokens,
    cache: dict[str, Array] | None,
    return_weights: bool,
) -> AttentionOutput:
    """Lets each position look at itself and at what came before.

    Args:
      params: Weights, as `attention_specs` declares them.
      config: The layer.
      x_BLD: Normalised input.
      rope: Rotations of the tokens' positions.
      new: Where the tokens stand.
      cache: Keys and values of earlier tokens; None means that x is all there is.
      return_weights: Also return the softmax weights, cached keys first.
    """
    heads = einsums("BLD,NHD->BLNH", x_BLD, (params["q"], params["k"], params["v"]))
    if cache is None or return_weights:
        found = _look(params, config, heads, rope, new, cache)
    else:
        found = _look_quietly(params, config, heads, rope, new, cache)
    x_BLD = einsum("BLNH,DNH->BLD", found.x, params["o"])
    return AttentionOutput(
        x_BLD, found.cache, found.weights if return_weights else None
    )


def _look(
    params: Params,
    config: LayerConfig,
    heads: tuple[Array, ...],
    rope: RopeTable,
    new: NewTokens,
    cache: dict[str, Array] | None,
) -> AttentionOutput:
    """Returns what the queries find, and where: by the formula, over all keys at once."""
    q_BLNH, k_BLKH, v_BLKH = heads
    if config.qk_norm:
        q_BLNH = rms_norm(q_BLNH, params["query_norm"], eps=config.norm_eps)
        k_BLKH = rms_norm(k_BLKH, params["key_norm"], eps=config.norm_eps)
    q_BLNH, k_BLKH = apply_rope(q_BLNH, rope), apply_rope(k_BLKH, rope)
    keys = new_keys = Keys(
        k=k_BLKH.transpose(0, 2, 1, 3),
        v=v_BLKH.transpose(0, 2, 1, 3),
        positions=jnp.where(new.valid, new.positions, -1),
    )
    # Queries look at the cache as it was before, and at the new tokens themselves: a
    # ring may lose to the last tokens of a chunk what its first ones still need.
    if cache is not None:
        cached = read(cache, new, q_BLNH.dtype)
        keys = Keys(
            k=jnp.concatenate([cached.k, keys.k], axis=2),
            v=jnp.concatenate([cached.v, keys.v], axis=2),
            positions=jnp.concatenate([cached.positions, keys.positions], axis=1),
        )
        cache = write(cache, new_keys, new)
    seen = new.seen
    if seen is None:
        seen = attention_mask(
            new.positions,
            keys.positions,
            window=config.window if config.is_local else None,
            last_seen=new.last_seen,
            first_seen=new.first_seen,
        )
    out_BLNH, weights = dot_product_attention(
        q_BLNH,
        keys.k,
        keys.v,
        seen,
        scale=config.query_scale,
        softcap=config.attn_softcap,
    )
    return AttentionOutput(out_BLNH, cache, weights)


def _look_quietly(
    params: Params,
    config: LayerConfig,
    heads: tuple[Array, ...],
    rope: RopeTable,
    new: NewTokens,
    cache: dict[str, Array],
) -> AttentionOutput:
    """Returns what the queries find, reading only what is filled of the cache."""
    norms = None
    if config.qk_norm:
        norms = HeadNorms(params["query_norm"], params["key_norm"], config.norm_eps)
    found = cached_attention(
        *heads,
        cache=(cache["k"], cache["v"]),
        begin=new.begin,
        end=new.end,
        last_seen=new.last_seen,
        rope=rope,
        norms=norms,
        window=config.window if config.is_local else None,
        scale=config.query_scale,
        softcap=config.attn_softcap,
    )
    return AttentionOutput(found.out, {"k": found.k, "v": found.v}, None)
