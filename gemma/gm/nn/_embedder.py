"""Tokens to vectors, and vectors back to logits, mostly through one table.

Axes: B batch, L length, D model width, V vocabulary, W words of 32 of
its bits.
"""

import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from gemma.gm.kernels import Screen, Shortlist, shortlist
from gemma.gm.math import has_bit, softcap
from gemma.gm.nn._config import TransformerConfig
from gemma.gm.typing import DType, Params
from gemma.gm.weights import ParamSpec, einsum, take


def embedder_specs(config: TransformerConfig) -> dict[str, ParamSpec]:
    """Returns the table, which is also the head unless that is one of its own."""
    table = ParamSpec((config.vocab_size, config.embed_dim), axes=("vocab", "embed"))
    head = {"head": table} if config.has_head else {}
    return {"input_embedding": table, **head}


def head_of(params: Params) -> Any:
    """Returns the matrix of the logits."""
    return params["head"] if "head" in params else params["input_embedding"]


def embed(
    params: Params, tokens: Int[Array, "*B"], *, dtype: DType
) -> Float[Array, "*B D"]:
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
    logits = einsum("RD,VD->RV", rows, head_of(params), out_dtype=jnp.float32)
    if config.final_softcap is not None:
        logits = softcap(logits, config.final_softcap)
    return logits.reshape(*x.shape[:-1], -1)


def unembed_largest(
    params: Params,
    config: TransformerConfig,
    x: Float[Array, "B D"],
    screen: Screen,
    *,
    allowed: UInt32[Array, "B W"],
    wanted: Int[Array, "B"],
    capacity: int,
) -> Shortlist:
    """Returns the largest logits; see `kernels.shortlist`. -inf where not allowed."""
    found = shortlist(
        x,
        head_of(params).packed,
        screen,
        allowed=allowed,
        wanted=wanted,
        capacity=capacity,
        softcap=config.final_softcap,
    )
    logits = found.outputs
    if config.final_softcap is not None:
        logits = softcap(logits, config.final_softcap)
    may_come = has_bit(allowed, found.ids)
    return Shortlist(found.ids, jnp.where(may_come, logits, -jnp.inf))
