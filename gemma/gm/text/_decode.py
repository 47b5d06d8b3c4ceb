"""One more token for each row, and several: the only decode step in the repository.

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
    next_tokens,
    num_wanted,
)
from gemma.gm.typing import Cache, Params

# Steps between two looks of the host: some hundredths of a second.
MAX_STEPS = 4
# A tokenizer may have fewer tokens that end an answer; the host finds what is left.
MAX_STOP_IDS = 8


class Decoded(NamedTuple):
    """What one or several steps return.

    Attributes:
      tokens: The tokens chosen, one row of them a step; the last is not in the cache.
      num_steps: How many of these rows were made.
      last: The last token of each row.
      logits: What it was chosen from, forbidden tokens at -inf; None if not asked for.
      cache: The cache, with the tokens that the steps were given.
    """

    tokens: Int[Array, "n B"]
    num_steps: Int[Array, ""]
    last: Int[Array, "B"]
    logits: Float[Array, "B V"] | None
    cache: Cache


class Choice(NamedTuple):
    """How the next tokens are chosen.

    Attributes:
      sampling: How each row draws.
      bias: Added to the logits; -inf forbids a token.
      screen: The outline of a packed head, through which few logits are found; None
        to compute them all. Only for rows that need few: see `needs_few`.
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
def decode_steps(
    model: Transformer,
    params: Params,
    cache: Cache,
    tokens: Int[Array, "B"],
    active: Bool[Array, "B"],
    choice: Choice,
    stop_ids: Int[Array, "s"],
    limit: Int[Array, ""],
    *,
    with_logits: bool = False,
) -> Decoded:
    """Takes several steps before the host looks, until all rows have ended.

    Between steps the host would take a tenth of their time.

    Args:
      model: The model.
      params: Its params.
      cache: Given away: only the returned one may be used afterwards.
      tokens: The token that each row chose last.
      active: False for rows that have ended: their cache stays as it is.
      choice: How the next tokens are chosen.
      stop_ids: Tokens that end a row; -1 fills up.
      limit: The most steps to take, 1 to `MAX_STEPS`.
      with_logits: Take one step only, and also return all logits.
    """
    if with_logits:
        return decode_step(
            model, params, cache, tokens, active, choice, with_logits=True
        )
    start = Decoded(
        tokens=jnp.zeros([MAX_STEPS, len(tokens)], jnp.int32),
        num_steps=jnp.int32(0),
        last=tokens,
        logits=None,
        cache=cache,
    )

    def is_on(last: Array, active: Array) -> Array:
        return active & ~jnp.isin(last, stop_ids)

    def more(state: tuple[Decoded, Array]) -> Array:
        made, active = state
        return (made.num_steps < limit) & jnp.any(active)

    def step(state: tuple[Decoded, Array]) -> tuple[Decoded, Array]:
        made, active = state
        new = decode_step(model, params, made.cache, made.last, active, choice)
        made = Decoded(
            tokens=made.tokens.at[made.num_steps].set(new.last),
            num_steps=made.num_steps + 1,
            last=new.last,
            logits=None,
            cache=new.cache,
        )
        return made, is_on(new.last, active)

    return jax.lax.while_loop(more, step, (start, is_on(tokens, active)))[0]


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
    if with_logits or screen is None:
        logits = model.logits(variables, x) + bias[None, :]
        tokens = next_tokens(logits, sampling, positions)
    else:
        logits = None
        few = model.largest_logits(
            variables,
            x,
            screen,
            bias=bias,
            wanted=num_wanted(sampling),
            capacity=SHORTLIST,
        )
        tokens = choose_among(few, sampling, positions)
    return Decoded(
        tokens=tokens[None],
        num_steps=jnp.int32(1),
        last=tokens,
        logits=logits if with_logits else None,
        cache=cache,
    )
