"""One attention layer: its weights and what it does with them.

Axes: B batch, L length, S keys, D model width, N query heads, K key/value heads,
H head width.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from gemma.gm.math import (
    RopeTable,
    apply_rope,
    attention_mask,
    dot_product_attention,
    rms_norm,
)
from gemma.gm.nn._cache import KeysValues, NewTokens, extend
from gemma.gm.nn._config import LayerConfig
from gemma.gm.typing import Params
from gemma.gm.weights import ParamSpec, einsum


class AttentionOutput(NamedTuple):
    """What a layer adds to the residual, its cache, and where it looked."""

    x: Float[Array, "B L D"]
    cache: dict[str, Array] | None
    weights: Float[Array, "B N L S"]


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
) -> AttentionOutput:
    """Lets each position look at itself and at what came before.

    Args:
      params: Weights, as `attention_specs` declares them.
      config: The layer.
      x_BLD: Normalised input.
      rope: Rotations of the tokens' positions.
      new: Where the tokens stand.
      cache: Keys and values of earlier tokens; None means that x is all there is.
    """
    q_BLNH = einsum("BLD,NHD->BLNH", x_BLD, params["q"])
    k_BLKH = einsum("BLD,KHD->BLKH", x_BLD, params["k"])
    v_BLKH = einsum("BLD,KHD->BLKH", x_BLD, params["v"])
    if config.qk_norm:
        q_BLNH = rms_norm(q_BLNH, params["query_norm"], eps=config.norm_eps)
        k_BLKH = rms_norm(k_BLKH, params["key_norm"], eps=config.norm_eps)
    q_BLNH, k_BLKH = apply_rope(q_BLNH, rope), apply_rope(k_BLKH, rope)

    k_BKLH, v_BKLH = k_BLKH.transpose(0, 2, 1, 3), v_BLKH.transpose(0, 2, 1, 3)
    if cache is None:
        seen = KeysValues(k_BKLH, v_BKLH, jnp.where(new.valid, new.positions, -1))
    else:
        seen, cache = extend(cache, k_BKLH, v_BKLH, new)

    window = config.window if config.is_local else None
    out_BLNH, weights = dot_product_attention(
        q_BLNH,
        seen.k.astype(q_BLNH.dtype),
        seen.v.astype(q_BLNH.dtype),
        attention_mask(new.positions, seen.positions, window=window),
        scale=config.query_scale,
        softcap=config.attn_softcap,
    )
    return AttentionOutput(
        einsum("BLNH,DNH->BLD", out_BLNH, params["o"]), cache, weights
    )
