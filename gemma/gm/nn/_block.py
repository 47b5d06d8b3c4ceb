"""One decoder layer: attention, feed-forward, and the norms around them.

Axes: B batch, L length, D model width.
"""

import functools

from jaxtyping import Array, Float

from gemma.gm.kernels import rms_norm
from gemma.gm.math import RopeTable
from gemma.gm.nn._attention import AttentionOutput, attention, attention_specs
from gemma.gm.nn._cache import NewTokens
from gemma.gm.nn._config import LayerConfig
from gemma.gm.nn._feedforward import feedforward, feedforward_specs
from gemma.gm.typing import Params
from gemma.gm.weights import ParamSpec


def block_specs(config: LayerConfig) -> dict[str, object]:
    """Returns the weights of the layer."""
    norm = ParamSpec((config.embed_dim,), axes=("embed",), init="zeros")
    specs: dict[str, object] = {
        "pre_attention_norm": norm,
        "attn": attention_specs(config),
        "pre_ffw_norm": norm,
        "mlp": feedforward_specs(config),
    }
    if config.post_norms:
        specs |= {"post_attention_norm": norm, "post_ffw_norm": norm}
    return specs


def block(
    params: Params,
    config: LayerConfig,
    x_BLD: Float[Array, "B L D"],
    *,
    rope: RopeTable,
    new: NewTokens,
    cache: dict[str, Array] | None,
    return_weights: bool,
) -> AttentionOutput:
    """Returns the residual stream after the layer, and what attention returned."""
    norm = functools.partial(rms_norm, eps=config.norm_eps)

    attended = attention(
        params["attn"],
        config,
        norm(x_BLD, params["pre_attention_norm"]),
        rope=rope,
        new=new,
        cache=cache,
        return_weights=return_weights,
    )
    if config.post_norms:
        x_BLD = norm(attended.x, params["post_attention_norm"], residual=x_BLD)
    else:
        x_BLD = x_BLD + attended.x

    update_BLD = feedforward(params["mlp"], norm(x_BLD, params["pre_ffw_norm"]))
    if config.post_norms:
        x_BLD = norm(update_BLD, params["post_ffw_norm"], residual=x_BLD)
    else:
        x_BLD = x_BLD + update_BLD
    return attended._replace(x=x_BLD)
