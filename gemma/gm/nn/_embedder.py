"""Tokens to vectors, and vectors back to logits, through one table.

Axes: B batch, L length, D model width, V vocabulary.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gemma.gm.kernels import Screen, Shortlist, shortlist
from gemma.gm.math import softcap
from gemma.gm.nn._config import TransformerConfig
from gemma.gm.typing import DType, Params
from gemma.gm.weights import ParamSpec, einsum, take


def embedder_specs(config: TransformerConfig) -> dict[str, ParamSpec]:
    """Returns the table, which is also the head."""
    shape = (config.vocab_size, config.embed_dim)
    return {"input_embedding": ParamSpec(shape, axes=("vocab", "embed"))}


def embed(
    params: Params, tokens: Int[Array, "B L"], *, dtype: DType
) -> Float[Array, "B L D"]:
    """Returns the row of each token, times the root of the width."""
    table = params["input_embedding"]
    # The constant is rounded to the table's dtype: in bfloat16 sqrt(2560) is 50.5 and
    # not 50.596, and the checkpoints were trained with that.
    scale = jnp.sqrt(jnp.float32(table.shape[-1])).astype(table.dtype).astype(dtype)
    return take(table, tokens).astype(dtype) * scale


def unembed(
    params: Params, config: TransformerConfig, x: Float[Array, "*B D"]
) -> Float[Array, "*B V"]:
    """Returns the logits of vectors, in float32."""
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    logits = einsum("RD,VD->RV", rows, params["input_embedding"], out_dtype=jnp.float32)
    if config.final_softcap is not None:
        logits = softcap(logits, config.final_softcap)
    return logits.reshape(*x.shape[:-1], -1)


def unembed_largest(
    params: Params,
    config: TransformerConfig,
    x: Float[Array, "B D"],
    screen: Screen,
    *,
    bias: Float[Array, "V"],
    wanted: Int[Array, "B"],
    capacity: int,
) -> Shortlist:
    """Returns the largest logits plus bias; see `kernels.shortlist`."""
    found = shortlist(
        x,
        params["input_embedding"].packed,
        screen,
        bias=bias,
        wanted=wanted,
        capacity=capacity,
        softcap=config.final_softcap,
    )
    logits = found.outputs
    if config.final_softcap is not None:
        logits = softcap(logits, config.final_softcap)
    logits = jnp.where(found.ids < 0, -jnp.inf, logits + bias[found.ids])
    return Shortlist(found.ids, logits)
