"""One more token for each row, and several: the only decode step in the repository.

A step takes the last token in, and chooses the next. The two can be run one by one, by who
must look at each token before it can say which may follow.

Axes: B batch, D model width, V vocabulary.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from gemma.gm.kernels import Screen
from gemma.gm.math import unpack_bits
from gemma.gm.nn import Transformer
from gemma.gm.text._draw import (
    SHORTLIST,
    SamplingArrays,
    choose_among,
    next_tokens,
    num_wanted,
)
from gemma.gm.text._penalties import History, penalize, record
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
      logits: The model's own, forbidden tokens at -inf; None if not asked for.
      cache: The cache, with the tokens that the steps were given.
      history: What each row has said; None where nobody needs it.
    """

    tokens: Int[Array, "n B"]
    num_steps: Int[Array, ""]
    last: Int[Array, "B"]
    logits: Float[Array, "B V"] | None
    cache: Cache
    history: History | None


class Taken(NamedTuple):
    """What `take_tokens` returns.

    Attributes:
      x: What the next tokens are chosen from.
      cache: The cache, with the tokens.
      positions: Where each row ends now.
    """

    x: Float[Array, "B D"]
    cache: Cache
    positions: Int[Array, "B"]


class Chosen(NamedTuple):
    """What `choose_tokens` returns.

    Attributes:
      tokens: A token for each row.
      logits: See `Decoded`.
      history: What each row has said; None where nobody needs it.
    """

    tokens: Int[Array, "B"]
    logits: Float[Array, "B V"] | None
    history: History | None


class Choice(NamedTuple):
    """How the next tokens are chosen.

    Attributes:
      sampling: How each row draws.
      allowed: Which tokens may come, a bit each: see `math.unpack_bits`.
      bias: Added to the logits; None with a screen.
      screen: The outline of a packed head, through which few logits are found; None
        to compute them all. Only for rows that need few: see `needs_few`.
    """

    sampling: SamplingArrays
    allowed: UInt32[Array, "B W"]
    bias: Float[Array, "B V"] | None
    screen: Screen | None


@functools.partial(
    jax.jit,
    static_argnames=("model", "with_logits"),
    donate_argnames=("cache", "history"),
)
def decode_step(
    model: Transformer,
    params: Params,
    cache: Cache,
    tokens: Int[Array, "B"],
    active: Bool[Array, "B"],
    choice: Choice,
    history: History | None,
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
      history: What each row has said, given away; None with a screen.
      with_logits: Also return all logits.
    """
    taken = take_tokens(model, params, cache, tokens, active)
    chosen = choose_tokens(
        model,
        head_params(params),
        taken.x,
        taken.positions,
        active,
        choice,
        history,
        with_logits=with_logits,
    )
    return Decoded(
        tokens=chosen.tokens[None],
        num_steps=jnp.int32(1),
        last=chosen.tokens,
        logits=chosen.logits,
        cache=taken.cache,
        history=chosen.history,
    )


@functools.partial(
    jax.jit,
    static_argnames=("model", "with_logits"),
    donate_argnames=("cache", "history"),
)
def decode_steps(
    model: Transformer,
    params: Params,
    cache: Cache,
    tokens: Int[Array, "B"],
    active: Bool[Array, "B"],
    choice: Choice,
    history: History | None,
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
      history: What each row has said, given away; None with a screen.
      stop_ids: Tokens that end a row; -1 fills up.
      limit: The most steps to take, 1 to `MAX_STEPS`.
      with_logits: Take one step only, and also return all logits.
    """
    if with_logits:
        return decode_step(
            model, params, cache, tokens, active, choice, history, with_logits=True
        )
    start = Decoded(
        tokens=jnp.zeros([MAX_STEPS, len(tokens)], jnp.int32),
        num_steps=jnp.int32(0),
        last=tokens,
        logits=None,
        cache=cache,
        history=history,
    )

    def is_on(last: Array, active: Array) -> Array:
        return active & ~jnp.isin(last, stop_ids)

    def more(state: tuple[Decoded, Array]) -> Array:
        made, active = state
        return (made.num_steps < limit) & jnp.any(active)

    def step(state: tuple[Decoded, Array]) -> tuple[Decoded, Array]:
        made, active = state
        last = made.last
        new = decode_step(model, params, made.cache, last, active, choice, made.history)
        made = Decoded(
            tokens=made.tokens.at[made.num_steps].set(new.last),
            num_steps=made.num_steps + 1,
            last=new.last,
            logits=None,
            cache=new.cache,
            history=new.history,
        )
        return made, is_on(new.last, active)

    return jax.lax.while_loop(more, step, (start, is_on(tokens, active)))[0]


@functools.partial(jax.jit, static_argnames="model", donate_argnames="cache")
def take_tokens(
    model: Transformer,
    params: Params,
    cache: Cache,
    tokens: Int[Array, "B"],
    active: Bool[Array, "B"],
) -> Taken:
    """Feeds each row its last token; see `decode_step`."""
    found = model.features(
        {"params": params},
        tokens[:, None],
        mask=active[:, None],
        cache=cache,
        last_only=True,
    )
    assert found.cache is not None
    return Taken(found.x, found.cache, found.cache["end"])


def head_params(params: Params) -> Params:
    """Returns those of a model's params that tokens are chosen with."""
    return {"embedder": params["embedder"]}


@functools.partial(
    jax.jit, static_argnames=("model", "with_logits"), donate_argnames="history"
)
def choose_tokens(
    model: Transformer,
    head: Params,
    x: Float[Array, "B D"],
    positions: Int[Array, "B"],
    active: Bool[Array, "B"],
    choice: Choice,
    history: History | None,
    *,
    with_logits: bool = False,
) -> Chosen:
    """Chooses a token for each row.

    Args:
      model: The model.
      head: Its `head_params`.
      x: What `take_tokens` returned.
      positions: See x.
      active: False for rows that have ended: they say nothing more.
      choice: How the tokens are chosen.
      history: See `decode_step`.
      with_logits: Also return all logits.
    """
    variables = {"params": head}
    sampling, allowed, bias, screen = choice
    if screen is not None:
        few = model.largest_logits(
            variables,
            x,
            screen,
            allowed=allowed,
            wanted=num_wanted(sampling),
            capacity=SHORTLIST,
        )
        return Chosen(choose_among(few, sampling, positions), None, None)
    assert bias is not None
    assert history is not None
    logits = model.logits(variables, x)
    logits = jnp.where(unpack_bits(allowed, logits.shape[1]), logits, -jnp.inf)
    scores = penalize(logits, history, sampling) + bias
    tokens = next_tokens(scores, sampling, positions)
    history = record(history, tokens, active)
    return Chosen(tokens, logits if with_logits else None, history)
