"""Calls with any number of leading axes, and masks of attention that say the usual.

Axes: B batch, L length.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Int

from gemma.gm.nn._outputs import Output

# Options with a number, or a vector, for each token.
_BY_TOKEN = {"mask": 1, "positions": 1, "embeddings": 2, "soft": 2}


def with_one_axis_of_rows(
    tokens: Any, options: Mapping[str, Any]
) -> tuple[Int[Array, "B L"], dict[str, Any], tuple[int, ...]]:
    """Returns tokens and options with one axis of rows, and the axes that they had.

    Args:
      tokens: Token ids [*B, L].
      options: Those of `Transformer.features`.

    Raises:
      TypeError: Tokens are no integers.
      ValueError: An option has other axes than the tokens.
    """
    if not hasattr(tokens, "dtype"):
        tokens = jnp.asarray(tokens)
    if not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise TypeError(f"tokens are {tokens.dtype}; token ids are integers.")
    if tokens.ndim == 0:
        raise ValueError("tokens are a single number; pass an array [L] or [*B, L].")
    lead = tuple(tokens.shape[:-1])
    if len(lead) == 1:
        return tokens, dict(options), lead
    flat = dict(options)
    for name in _BY_TOKEN.keys() & options.keys():
        if (value := options[name]) is not None:
            if tuple(value.shape[: tokens.ndim]) != tuple(tokens.shape):
                raise ValueError(
                    f"{name} has shape {tuple(value.shape)}, which does not begin like "
                    f"that of the tokens, {tuple(tokens.shape)}."
                )
            flat[name] = value.reshape(-1, *value.shape[len(lead) :])
    return tokens.reshape(-1, tokens.shape[-1]), flat, lead


def with_axes_of_rows(output: Output, lead: tuple[int, ...]) -> Output:
    """Returns an output whose arrays begin with these axes; the cache stays."""
    rest = output._replace(cache=None)
    shaped = jax.tree.map(lambda x: x.reshape(*lead, *x.shape[1:]), rest)
    return shaped._replace(cache=output.cache)


def mask_of_attention(
    attention_mask: Bool[Array, "..."] | Int[Array, "..."],
    options: Mapping[str, Any],
    tokens: Any,
) -> Bool[Array, "..."]:
    """Returns which tokens are no padding, of a mask that says what attends to what.

    Args:
      attention_mask: [*B, L], or [*B, L, L] where each token attends to itself and to
        those before it, and none to padding.
      options: The other options of the call.
      tokens: Token ids [*B, L].

    Raises:
      ValueError: It is another mask, or comes with a `mask` or a cache.
    """
    if options.get("mask") is not None:
        raise ValueError("Pass mask or attention_mask, not both.")
    allowed, shape = jnp.asarray(attention_mask).astype(bool), jnp.shape(tokens)
    if allowed.shape == shape:
        return allowed
    if options.get("cache") is not None or allowed.shape != (*shape, shape[-1]):
        raise ValueError(
            f"attention_mask has shape {allowed.shape} for tokens of shape {shape}. "
            f"Pass {shape}, True for tokens and False for padding; or, without a cache, "
            f"a causal mask {(*shape, shape[-1])}."
        )
    if isinstance(allowed, Tracer):
        raise ValueError(
            "Under jax.jit nothing tells whether attention_mask is causal. Pass mask=, "
            "[*B, L], False for padding."
        )
    valid = jnp.diagonal(allowed, axis1=-2, axis2=-1)
    before = jnp.broadcast_to(jnp.tri(shape[-1], dtype=bool), allowed.shape)
    causal = before & valid[..., None, :]
    if not bool(jnp.all((allowed == causal) | ~valid[..., :, None])):
        raise ValueError(
            "attention_mask is not causal: each token attends to itself and to all "
            "tokens before it. Pass mask=, False for padding; soft tokens of an image "
            "attend to one another as they are."
        )
    return valid
