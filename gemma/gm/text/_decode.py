"""One more token for each row: the only decode step in the repository.

Axes: B batch, V vocabulary.
"""

import functools
from typing import NamedTuple

import jax
from jaxtyping import Array, Bool, Float, Int

from gemma.gm.nn import Transformer
from gemma.gm.text._sampling import SamplingArrays, next_tokens
from gemma.gm.typing import Cache, Params


class Decoded(NamedTuple):
    """What a step returns.

    Attributes:
      tokens: The token chosen for each row; not in the cache yet.
      logits: What it was chosen from, forbidden tokens at -inf.
      cache: The cache, with the tokens that the step was given.
    """

    tokens: Int[Array, "B"]
    logits: Float[Array, "B V"]
    cache: Cache


@functools.partial(jax.jit, static_argnames="model", donate_argnames="cache")
def decode_step(
    model: Transformer,
    params: Params,
    cache: Cache,
    tokens: Int[Array, "B"],
    active: Bool[Array, "B"],
    sampling: SamplingArrays,
    bias: Float[Array, "V"],
) -> Decoded:
    """Feeds each row its last token and chooses the next one.

    Args:
      model: The model.
      params: Its params.
      cache: Given away: only the returned one may be used afterwards.
      tokens: The token that each row chose last.
      active: False for rows that have ended: their cache stays as it is.
      sampling: How each row draws.
      bias: Added to the logits; -inf forbids a token.
    """
    out = model.apply(
        {"params": params},
        tokens[:, None],
        mask=active[:, None],
        cache=cache,
        last_only=True,
    )
    assert out.cache is not None
    return _choose(out.logits, out.cache, sampling, bias)


@functools.partial(jax.jit, donate_argnames=("logits", "cache"))
def first_tokens(
    logits: Float[Array, "B V"],
    cache: Cache,
    sampling: SamplingArrays,
    bias: Float[Array, "V"],
) -> Decoded:
    """Chooses the tokens that follow the prompts, from the logits of prefill."""
    return _choose(logits, cache, sampling, bias)


def _choose(
    logits: Float[Array, "B V"],
    cache: Cache,
    sampling: SamplingArrays,
    bias: Float[Array, "V"],
) -> Decoded:
    logits = logits + bias[None, :]
    tokens = next_tokens(logits, sampling, cache["end"])
    return Decoded(tokens=tokens, logits=logits, cache=cache)
