"""From logits to the next token, without a sort and without noise over the vocabulary.

Every parameter is an array with an entry a row, so that changing one never recompiles.
The order is that of transformers: temperature, top-k, top-p, min-p, then a draw.

A sort of 262,144 logits takes 57 ms on a CPU and Gumbel noise for them 8 ms, more than
a decode step should. Top-k and top-p only need a threshold: the largest probability
such that enough (tokens, mass) lies at or above it. Non-negative floats order like
their bit patterns, so 31 halvings of an integer interval find it exactly. The draw
inverts the cumulative distribution with a single uniform number, block by block.

Axes: B batch, V vocabulary.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num, UInt32

from gemma.gm.kernels import Shortlist, largest
from gemma.gm.text._sampling import Sampling

# Made by numpy on the host, traced by JAX in a program.
AnyArray = Array | np.ndarray
_BLOCK = 512
# Rows with a top-k of so many are served from a shortlist with room for so many: finding
# more than a few takes longer than computing all.
_FEW, SHORTLIST = 8, 32
# Colder is greedy and hotter is even, to the last bit; float32 holds no more.
_COLDEST, _HOTTEST = 1e-30, 1e30


class SamplingArrays(NamedTuple):
    """The sampling of each row of a batch, as arrays."""

    temperature: Float[AnyArray, "B"]
    top_k: Int[AnyArray, "B"]
    top_p: Float[AnyArray, "B"]
    min_p: Float[AnyArray, "B"]
    repetition_penalty: Float[AnyArray, "B"]
    presence_penalty: Float[AnyArray, "B"]
    frequency_penalty: Float[AnyArray, "B"]
    seed: UInt32[AnyArray, "B"]


def stack(samplings: Sequence[Sampling], seeds: Sequence[int]) -> SamplingArrays:
    """Returns the samplings and seeds of the rows as arrays."""
    no_limit = np.iinfo(np.int32).max
    top_ks = [s.top_k or no_limit for s in samplings]
    temperatures = [s.temperature for s in samplings]
    return SamplingArrays(
        temperature=_floats(
            min(t, _HOTTEST) if t > _COLDEST else 0.0 for t in temperatures
        ),
        top_k=np.array([min(k, no_limit) for k in top_ks], np.int32),
        top_p=_floats(s.top_p for s in samplings),
        min_p=_floats(s.min_p for s in samplings),
        repetition_penalty=_floats(s.repetition_penalty for s in samplings),
        presence_penalty=_floats(s.presence_penalty for s in samplings),
        frequency_penalty=_floats(s.frequency_penalty for s in samplings),
        seed=np.array([_word(seed) for seed in seeds], np.uint32),
    )


def _word(seed: int) -> int:
    """Returns 32 bits of a seed: itself if it has no more, else a hash of all."""
    if 0 <= seed < 2**32:
        return seed
    return int(np.random.SeedSequence(seed % 2**64).generate_state(1)[0])


def _floats(values: Iterable[float]) -> Float[np.ndarray, "B"]:
    return np.array(list(values), np.float32)


def next_tokens(
    logits: Float[Array, "B V"],
    sampling: SamplingArrays,
    positions: Int[Array, "B"],
) -> Int[Array, "B"]:
    """Returns the next token of each row.

    Args:
      logits: Scores; -inf forbids a token.
      sampling: How each row draws.
      positions: The place that each token will take in its sequence. A draw depends on
        the row's seed and this place alone, never on the rest of the batch.
    """
    draws, is_short = sampling.temperature > 0, needs_few(sampling)
    best = _argmax(logits)

    def few() -> Array:
        return choose_among(
            largest(logits, jnp.isfinite(logits), capacity=SHORTLIST),
            sampling,
            positions,
        )

    # Rows that need few logits get the bits that they would get from a shortlist.
    drawn = jax.lax.cond(jnp.any(draws & is_short), few, lambda: best)
    drawn = jax.lax.cond(
        jnp.any(~is_short),
        lambda: jnp.where(is_short, drawn, _draw_tokens(logits, sampling, positions)),
        lambda: drawn,
    )
    return jnp.where(draws, drawn, best)


def needs_few(sampling: SamplingArrays) -> Bool[AnyArray, "B"]:
    """Returns which rows draw among their largest logits only: see `num_wanted`."""
    return (sampling.temperature == 0) | (sampling.top_k <= _FEW)


def num_wanted(sampling: SamplingArrays) -> Int[Array, "B"]:
    """Returns how many of the largest logits such rows need."""
    return jnp.where(sampling.temperature == 0, 1, jnp.minimum(sampling.top_k, _FEW))


def choose_among(
    few: Shortlist, sampling: SamplingArrays, positions: Int[Array, "B"]
) -> Int[Array, "B"]:
    """Returns the next token of each row that needs few logits, from these."""
    draws = sampling.temperature > 0
    best = _argmax(few.outputs)
    place = jax.lax.cond(
        jnp.any(draws),
        lambda: jnp.where(draws, _draw_tokens(few.outputs, sampling, positions), best),
        lambda: best,
    )
    return jnp.maximum(_pick(few.ids, place), 0)


def _argmax(x_BV: Float[Array, "B V"]) -> Int[Array, "B"]:
    """Returns the first largest entry: `jnp.argmax`, which is five times slower here."""
    vocab_size = x_BV.shape[1]
    index = jnp.arange(vocab_size, dtype=jnp.int32)[None, :]
    is_largest = x_BV == jnp.max(x_BV, axis=1, keepdims=True)
    return jnp.min(jnp.where(is_largest, index, vocab_size - 1), axis=1)


def _draw_tokens(
    logits: Float[Array, "B V"],
    sampling: SamplingArrays,
    positions: Int[Array, "B"],
) -> Int[Array, "B"]:
    # Greedy rows come along and are thrown away; any temperature does for them.
    is_greedy = sampling.temperature == 0
    temperature = jnp.where(is_greedy, 1.0, sampling.temperature)
    # The largest becomes 0 before the division: a product with a large 1 / temperature
    # that XLA fuses into the subtraction inside softmax overflows.
    logits = logits - jnp.max(logits, axis=1, keepdims=True)
    probs = keep_probable(jax.nn.softmax(logits / temperature[:, None]), sampling)
    return _invert_cdf(probs, _uniform(sampling.seed, positions))


def keep_probable(
    probs: Float[Array, "B V"], sampling: SamplingArrays
) -> Float[Array, "B V"]:
    """Returns the probabilities with zero where top-k, top-p or min-p cut.

    The kept ones are not normalised again. Tokens tied with the last kept one stay.
    """
    vocab_size = probs.shape[1]

    def top_k(probs):
        return _cut(probs, lambda kept: kept.sum(1) >= sampling.top_k)

    def top_p(probs):
        # Nucleus of what top-k left.
        mass = sampling.top_p * probs.sum(1)
        is_all = sampling.top_p >= 1  # rounding must not cut the tail of such a row
        cut = _cut(probs, lambda kept: jnp.where(kept, probs, 0).sum(1) >= mass)
        return jnp.where(is_all[:, None], probs, cut)

    def same(probs):
        return probs

    probs = jax.lax.cond(jnp.any(sampling.top_k < vocab_size), top_k, same, probs)
    probs = jax.lax.cond(jnp.any(sampling.top_p < 1), top_p, same, probs)
    floor = sampling.min_p * probs.max(axis=1)
    return jnp.where(probs >= floor[:, None], probs, 0)


def _cut(
    probs: Float[Array, "B V"], is_enough: Callable[[Array], Array]
) -> Float[Array, "B V"]:
    """Zeroes what lies below the largest threshold that still keeps enough.

    Args:
      probs: Non-negative numbers.
      is_enough: For [B, V] marks of what is kept, says for each row if it is enough.
        What is not enough at 0, which keeps all, is kept whole.
    """
    bits = jax.lax.bitcast_convert_type(probs, jnp.int32)

    def halve(_, interval):
        low, high = interval
        middle = low + (high - low + 1) // 2
        enough = is_enough(bits >= middle[:, None])
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle - 1)

    interval = jnp.zeros_like(bits[:, 0]), bits.max(axis=1)
    threshold, _ = jax.lax.fori_loop(0, 31, halve, interval)
    return jnp.where(bits >= threshold[:, None], probs, 0)


def _uniform(
    seed: UInt32[AnyArray, "B"], positions: Int[Array, "B"]
) -> Float[Array, "B"]:
    """Returns a number in [0, 1) for each row, from its seed and position."""

    def one(seed, position):
        return jax.random.uniform(jax.random.fold_in(jax.random.key(seed), position))

    return jax.vmap(one)(seed, positions)


def _invert_cdf(
    probs: Float[Array, "B V"], uniform: Float[Array, "B"]
) -> Int[Array, "B"]:
    """Returns the first token where the running sum passes `uniform` of the total."""
    B, V = probs.shape
    padded = jnp.pad(probs, ((0, 0), (0, -V % _BLOCK))).reshape(B, -1, _BLOCK)
    block_sums = jnp.cumsum(padded.sum(axis=2), axis=1)
    target = uniform * block_sums[:, -1]
    block = _first_above(block_sums, target)
    before = jnp.where(block > 0, _pick(block_sums, jnp.maximum(block - 1, 0)), 0.0)
    inside = jnp.take_along_axis(padded, block[:, None, None], axis=1)[:, 0]
    token = block * _BLOCK + _first_above(jnp.cumsum(inside, axis=1), target - before)
    # Sums of blocks and of their parts may round apart and point at a token that was
    # cut; the best token stands in, once in some ten million draws.
    possible = (token < V) & (_pick(probs, jnp.minimum(token, V - 1)) > 0)
    return jnp.where(possible, token, _argmax(probs))


def _first_above(sums: Float[Array, "B n"], target: Float[Array, "B"]) -> Array:
    last = sums.shape[1] - 1
    return jnp.minimum(jnp.sum(sums <= target[:, None], axis=1, dtype=jnp.int32), last)


def _pick(values: Num[Array, "B n"], index: Int[Array, "B"]) -> Num[Array, "B"]:
    return jnp.take_along_axis(values, index[:, None], axis=1)[:, 0]


class Logprobs(NamedTuple):
    """Log-probabilities under the model, before temperature and cuts.

    Attributes:
      chosen: Of the chosen token.
      top_ids: The most probable tokens, best first.
      top: Theirs.
    """

    chosen: Float[Array, "B"]
    top_ids: Int[Array, "B n"]
    top: Float[Array, "B n"]


def logprobs_of(
    logits: Float[Array, "B V"], tokens: Int[Array, "B"], num_top: int
) -> Logprobs:
    """Returns the log-probabilities of the chosen and of the best tokens."""
    total = jax.nn.logsumexp(logits, axis=1)
    top, top_ids = jax.lax.top_k(logits, num_top)
    return Logprobs(_pick(logits, tokens) - total, top_ids, top - total[:, None])
