"""One attention layer: its weights and what it does with them.

Axes: B batch, L length, S keys, D model width, N query heads, K key/value heads,
H head width.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from gemma.gm.math import (
    Keys,
    RopeTable,
    apply_rope,
    attention_mask,
    blockwise_attention,
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
    q_BLNH, k_BLKH, v_BLKH = einsums(
        "BLD,NHD->BLNH", x_BLD, (params["q"], params["k"], params["v"])
    )
    if config.qk_norm:
        q_BLNH = rms_norm(q_BLNH, params["query_norm"], eps=config.norm_eps)
        k_BLKH = rms_norm(k_BLKH, params["key_norm"], eps=config.norm_eps)
    q_BLNH, k_BLKH = apply_rope(q_BLNH, rope), apply_rope(k_BLKH, rope)
    new_keys = Keys(
        k=k_BLKH.transpose(0, 2, 1, 3),
        v=v_BLKH.transpose(0, 2, 1, 3),
        positions=jnp.where(new.valid, new.positions, -1),
    )
    # Queries look at the cache as it was before, and at the new tokens themselves: a
    # ring may lose to the last tokens of a chunk what its first ones still need.
    if cache is None or return_weights:
        out_BLNH, weights = _look_anywhere(q_BLNH, config, new, new_keys, cache)
    else:
        out_BLNH, weights = _look_in_blocks(q_BLNH, config, new, new_keys, cache), None
    if cache is not None:
        cache = write(cache, new_keys, _after(new, out_BLNH))
    x_BLD = einsum("BLNH,DNH->BLD", out_BLNH, params["o"])
    return AttentionOutput(x_BLD, cache, weights if return_weights else None)


def _look_anywhere(
    q_BLNH: Float[Array, "B L N H"],
    config: LayerConfig,
    new: NewTokens,
    keys: Keys,
    cache: dict[str, Array] | None,
) -> tuple[Float[Array, "B L N H"], Float[Array, "B N L S"]]:
    """Returns what the queries find, and where, in one product over all keys."""
    if cache is not None:
        cached = read(cache, new, q_BLNH.dtype)
        keys = Keys(
            k=jnp.concatenate([cached.k, keys.k], axis=2),
            v=jnp.concatenate([cached.v, keys.v], axis=2),
            positions=jnp.concatenate([cached.positions, keys.positions], axis=1),
        )
    window = config.window if config.is_local else None
    return dot_product_attention(
        q_BLNH,
        keys.k,
        keys.v,
        attention_mask(new.positions, keys.positions, window=window),
        scale=config.query_scale,
        softcap=config.attn_softcap,
    )


def _look_in_blocks(
    q_BLNH: Float[Array, "B L N H"],
    config: LayerConfig,
    new: NewTokens,
    keys: Keys,
    cache: dict[str, Array],
) -> Float[Array, "B L N H"]:
    """Returns what the queries find, reading only what is filled of the cache."""
    return blockwise_attention(
        q_BLNH,
        new.positions,
        keys,
        read(cache, new, q_BLNH.dtype),
        new.begin,
        window=config.window if config.is_local else None,
        scale=config.query_scale,
        softcap=config.attn_softcap,
    )


def _after(new: NewTokens, x_BLNH: Float[Array, "B L N H"]) -> NewTokens:
    """Returns `new`, made to depend on a value that comes after all reads of the cache.

    XLA then writes the new keys and values in place. Otherwise it may write before it
    reads, and copies the whole cache of the layer in each step. A barrier does not
    help: XLA on CPU drops it before it decides about copies. The dependency is a
    comparison that never holds.
    """
    never = x_BLNH[0, 0, 0, 0].astype(jnp.float32) < -3e38
    return new._replace(valid=new.valid & ~never)
