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
from gemma.gm.nn._cache import NewTokens, slot_positions, write
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

    # Queries look at the cache as it was before, and at the new tokens themselves: a
    # ring may lose to the last tokens of a chunk what its first ones still need.
    keys, values = [k_BKLH], [v_BKLH]
    key_positions = jnp.where(new.valid, new.positions, -1)
    if cache is not None:
        keys.insert(0, cache["k"].astype(x_BLD.dtype))
        values.insert(0, cache["v"].astype(x_BLD.dtype))
        old_positions = slot_positions(new.begin, cache["k"].shape[2])
        key_positions = jnp.concatenate([old_positions, key_positions], axis=1)
    out_BLNH, weights = dot_product_attention(
        q_BLNH,
        keys,
        values,
        attention_mask(
            new.positions,
            key_positions,
            window=config.window if config.is_local else None,
        ),
        scale=config.query_scale,
        softcap=config.attn_softcap,
    )
    if cache is not None:
        cache = write(cache, k_BKLH, v_BKLH, _after(new, out_BLNH))
    return AttentionOutput(
        einsum("BLNH,DNH->BLD", out_BLNH, params["o"]), cache, weights
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
