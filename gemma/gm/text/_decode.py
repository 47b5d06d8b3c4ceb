"""One more token for each row: the only decode step in the repository.

Axes: B batch, D model width, V vocabulary.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gemma.gm.kernels import Screen
from gemma.gm.nn import Transformer
from gemma.gm.text._sampling import (
    SHORTLIST,
    SamplingArrays,
    choose_among,
    needs_few,
    next_tokens,
    num_wanted,
)
from gemma.gm.typing import Cache, Params


class Decoded(NamedTuple):
    """What a step returns.

    Attributes:
      tokens: The token chosen for each row; not in the cache yet.
      logits: What it was chosen from, forbidden tokens at -inf; None if not asked for.
      cache: The cache, with the tokens that the step was given.
    """

    tokens: Int[Array, "B"]
    logits: Float[Array, "B V"] | None
    cache: Cache


class Choice(NamedTuple):
    """How the next tokens are chosen.

    Attributes:
      sampling: How each row draws.
      bias: Added to the logits; -inf forbids a token.
      screen: The outline of a packed head, if there is one.
    """

    sampling: SamplingArrays
    bias: Float[Array, "V"]
    screen: Screen | None


@functools.partial(
    jax.jit, static_argnames=("model", "with_logits"), donate_argnames="cache"
)
def decode_step(
    model: Transformer,
    params: Params,
    cache: Cache,
    tokens: Int[Array, "B"],
    active: Bool[Array, "B"],
    choice: Choice,
    *,
    with_logits: bool = False,
) -> Decoded:
    """Feeds each row its last token and chooses the next one.

    Args:
      model: The model.
      params: Its params.
      cache: Given away: only the returned one may be used afterwards.
      tokens: The token that each row chose last.
      active: False for rows that have ended: their cache stays as it is.
      choice: How the next tokens are chosen.
      with_logits: Also return all logits.
    """
    found = model.features(
        {"params": params},
        tokens[:, None],
        mask=active[:, None],
        cache=cache,
        last_only=True,
    )
    assert found.cache is not None
    return _choose(model, params, found.x, found.cache, choice, with_logits)


@functools.partial(
    jax.jit, static_argnames=("model", "with_logits"), donate_argnames="cache"
)
def first_tokens(
    model: Transformer,
    params: Params,
    x: Float[Array, "B D"],
    cache: Cache,
    choice: Choice,
    *,
    with_logits: bool = False,
) -> Decoded:
    """Chooses the tokens that follow the prompts, from what prefill returns."""
    return _choose(model, params, x, cache, choice, with_logits)


def _choose(
    model: Transformer,
    params: Params,
    x: Float[Array, "B D"],
    cache: Cache,
    choice: Choice,
    with_logits: bool,
) -> Decoded:
    variables, positions = {"params": params}, cache["end"]
    sampling, bias, screen = choice

    def from_all() -> tuple[Array, Array]:
        logits = model.logits(variables, x) + bias[None, :]
        return next_tokens(logits, sampling, positions), logits

    def from_few() -> Array:
        assert screen is not None
        few = model.largest_logits(
            variables,
            x,
            screen,
            bias=bias,
            wanted=num_wanted(sampling),
            capacity=SHORTLIST,
        )
        return choose_among(few, sampling, positions)

    if with_logits or screen is None:
        tokens, logits = from_all()
        return Decoded(tokens, logits if with_logits else None, cache)
    tokens = jax.lax.cond(jnp.all(needs_few(sampling)), from_few, lambda: from_all()[0])
    return Decoded(tokens, None, cache)
