"""One more token for each row, and several: the only decode step in the repository.

A step takes the last token in, and chooses the next. What may come next is known before, or
the host says it when it has seen the last token: while the model takes that in.

Axes: B batch, D model width, V vocabulary.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from gemma.gm.kernels import ALONE, Screen, await_reply, hand_over
from gemma.gm.math import unpack_bits
from gemma.gm.nn import Transformer
from gemma.gm.text._custom_sampling import CustomSampling
from gemma.gm.text._draw import (
    SHORTLIST,
    AnyArray,
    SamplingArrays,
    choose_among,
    next_tokens,
    num_wanted,
)
from gemma.gm.text._penalties import History, penalize, record
from gemma.gm.typing import Cache, Params

# The most steps of one call.
MAX_STEPS = 32
# A tokenizer may have fewer tokens that end an answer; the host finds what is left.
MAX_STOP_IDS = 8


class Decoded(NamedTuple):
    """What one or several steps return.

    Attributes:
      tokens: The tokens chosen, one row of them a step; the last is not in the cache.
      num_steps: How many of these rows were made.
      last: The last token of each row.
      active: Which rows go on.
      logits: The model's own, of forbidden tokens too; None if not asked for.
      cache: The cache, with the tokens that the steps were given.
      history: What each row has said; None where nobody needs it.
    """

    tokens: Int[Array, "n B"]
    num_steps: Int[Array, ""]
    last: Int[Array, "B"]
    active: Bool[Array, "B"]
    logits: Float[Array, "B V"] | None
    cache: Cache
    history: History | None


class Choice(NamedTuple):
    """How the next tokens are chosen.

    Attributes:
      sampling: How each row draws.
      allowed: Which tokens may come, a bit each: see `math.unpack_bits`.
      bias: Added to the logits; None with a screen.
      screen: The outline of a packed head, through which few logits are found; None
        to compute them all. Only for rows that need few: see `needs_few`.
      custom: A caller's way of choosing, in place of that of `sampling`; no screen.
    """

    sampling: SamplingArrays
    allowed: UInt32[Array, "B W"]
    bias: Float[Array, "B V"] | None
    screen: Screen | None
    custom: CustomSampling | None = None


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
    exchange: Int[AnyArray, ""] = ALONE,
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
      exchange: Where the host says which tokens may come; if it does not, no step is made.
      with_logits: Also return all logits.
    """
    variables = {"params": params}
    found = model.features(
        variables, tokens[:, None], mask=active[:, None], cache=cache, last_only=True
    )
    assert found.cache is not None
    reply = await_reply(found.x, choice.allowed, active, exchange)
    choice = choice._replace(allowed=reply.allowed)

    def choose() -> tuple[Array, Array | None]:
        return _choose(
            model, variables, found.x, positions, choice, history, with_logits
        )

    def choose_none() -> tuple[Array, Array | None]:
        logits = jax.eval_shape(choose)[1] if with_logits else None
        return tokens, jax.tree.map(jnp.zeros_like, logits)

    positions = found.cache["end"]
    chosen, logits = jax.lax.cond(reply.came, choose, choose_none)
    last = hand_over(chosen, reply.came, exchange)
    if history is not None:
        history = record(history, last, reply.active & reply.came)
    end = jnp.where(reply.came, positions, cache["end"])
    return Decoded(
        tokens=last[None],
        num_steps=reply.came.astype(jnp.int32),
        last=last,
        active=reply.active & reply.came,
        logits=logits,
        cache={**found.cache, "end": end},
        history=history,
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
    exchange: Int[AnyArray, ""],
    *,
    with_logits: bool = False,
) -> Decoded:
    """Takes several steps in one call, until all rows have ended.

    Between calls the host would take a tenth of a step's time.

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
      exchange: Where the host is asked before each choice, or `ALONE`.
      with_logits: Take one step only, and also return all logits.
    """
    if with_logits:
        options = choice, history, exchange
        return decode_step(
            model, params, cache, tokens, active, *options, with_logits=True
        )

    def goes_on(last: Array, active: Array) -> Array:
        return active & ~jnp.isin(last, stop_ids)

    def more(made: Decoded) -> Array:
        return (made.num_steps < limit) & jnp.any(made.active)

    def step(made: Decoded) -> Decoded:
        state = made.cache, made.last, made.active
        new = decode_step(model, params, *state, choice, made.history, exchange)
        return Decoded(
            tokens=made.tokens.at[made.num_steps].set(new.last),
            num_steps=made.num_steps + new.num_steps,
            last=new.last,
            active=goes_on(new.last, new.active),
            logits=None,
            cache=new.cache,
            history=new.history,
        )

    start = Decoded(
        tokens=jnp.zeros([MAX_STEPS, len(tokens)], jnp.int32),
        num_steps=jnp.int32(0),
        last=tokens,
        active=goes_on(tokens, active),
        logits=None,
        cache=cache,
        history=history,
    )
    return jax.lax.while_loop(more, step, start)


def _choose(
    model: Transformer,
    variables: dict[str, Params],
    x: Float[Array, "B D"],
    positions: Int[Array, "B"],
    choice: Choice,
    history: History | None,
    with_logits: bool,
) -> tuple[Int[Array, "B"], Float[Array, "B V"] | None]:
    """Returns a token for each row, and all logits if they are wanted."""
    sampling, allowed, bias, screen, custom = choice
    if screen is not None:
        few = model.largest_logits(
            variables,
            x,
            screen,
            allowed=allowed,
            wanted=num_wanted(sampling),
            capacity=SHORTLIST,
        )
        return choose_among(few, sampling, positions), None
    assert bias is not None
    assert history is not None
    logits = model.logits(variables, x)
    possible = jnp.where(unpack_bits(allowed, logits.shape[1]), logits, -jnp.inf)
    scores = penalize(possible, history, sampling) + bias
    if custom is not None:
        chosen = custom.next_tokens(scores, sampling.seed, positions)
        return chosen, logits if with_logits else None
    return next_tokens(scores, sampling, positions), logits if with_logits else None
