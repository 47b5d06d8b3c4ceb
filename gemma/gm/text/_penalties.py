"""Logits are changed by what was said already.

Axes: B batch, V vocabulary.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gemma.gm.text._draw import AnyArray, SamplingArrays


class History(NamedTuple):
    """Which tokens each row has already.

    Attributes:
      in_prompt: Tokens of the prompt.
      counts: How often the answer has each.
    """

    in_prompt: Bool[AnyArray, "B V"]
    counts: Int[AnyArray, "B V"]


def start_history(prompts: Sequence[Sequence[int]], vocab_size: int) -> History:
    """Returns the history of rows that have nothing but their prompts."""
    in_prompt = np.zeros([len(prompts), vocab_size], bool)
    for row, prompt in enumerate(prompts):
        ids = np.asarray(prompt, np.int64)
        # The soft tokens of images may lie outside the vocabulary.
        in_prompt[row, ids[ids < vocab_size]] = True
    return History(in_prompt, np.zeros([len(prompts), vocab_size], np.int32))


def record(
    history: History, tokens: Int[Array, "B"], active: Bool[Array, "B"]
) -> History:
    """Returns the history with one more token in each active row."""
    rows = jnp.arange(len(tokens), dtype=jnp.int32)
    counts = jnp.asarray(history.counts).at[rows, tokens].add(active.astype(jnp.int32))
    return history._replace(counts=counts)


def penalize(
    logits: Float[Array, "B V"], history: History, sampling: SamplingArrays
) -> Float[Array, "B V"]:
    """Returns the logits with the penalties of each row; see `Sampling`."""
    penalties = (
        sampling.repetition_penalty,
        sampling.presence_penalty,
        sampling.frequency_penalty,
    )
    repetition, presence, frequency = (p[:, None] for p in penalties)

    def changed(logits: Array) -> Array:
        count = history.counts.astype(jnp.float32)
        said = history.in_prompt | (count > 0)
        smaller = jnp.where(logits > 0, logits / repetition, logits * repetition)
        logits = jnp.where(said, smaller, logits)
        return logits - jnp.where(count > 0, presence, 0.0) - frequency * count

    is_none = (repetition == 1) & (presence == 0) & (frequency == 0)
    return jax.lax.cond(jnp.all(is_none), lambda logits: logits, changed, logits)
