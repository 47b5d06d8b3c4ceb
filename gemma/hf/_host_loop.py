"""Answers token by token, chosen on the host: for what compiled programs cannot ask.

Axes: B batch, L length, V vocabulary.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gemma.hf._logits_processors import Processor
from gemma.hf._outputs import GenerateOutput
from gemma.hf._steps import Steps


@dataclasses.dataclass(kw_only=True)
class HostRequest:
    """What shall come, and how it is chosen.

    Attributes:
      room: The most tokens of an answer.
      stop_ids: Tokens that end one.
      pad_id: What follows an answer that has ended.
      processors: What changes scores.
      criteria: Called with ids and the scores of each step; return whether rows end.
      draws: Random numbers; None to take the best token.
      keeps_scores: Whether the scores of each step are kept.
      keeps_logits: Whether the logits are.
      put: Called with the tokens of each step.
    """

    room: int
    stop_ids: Sequence[int]
    pad_id: int
    processors: Sequence[Processor]
    criteria: Sequence[Callable[[np.ndarray, Any], Any]]
    draws: np.random.Generator | None = None
    keeps_scores: bool = False
    keeps_logits: bool = False
    put: Callable[[np.ndarray], None] | None = None

    def process(self, ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Returns the scores that tokens are chosen by."""
        for processor in self.processors:
            scores = processor(ids, scores)
        return scores

    def ends(self, ids: np.ndarray, scores: Any) -> np.ndarray:
        """Returns which rows end with their last token."""
        found = np.isin(ids[:, -1], list(self.stop_ids))
        for criterion in self.criteria:
            found = found | np.asarray(criterion(ids, scores)).astype(bool)
        return found


@dataclasses.dataclass(kw_only=True)
class HostAnswers:
    """What came.

    Attributes:
      ids: Prompts and answers, [B, L].
      scores: What tokens were chosen by, [B, V] a step, if kept.
      logits: What the model said, the same.
      sequences_scores: The score of each row, [B], if it was searched for.
    """

    ids: np.ndarray
    scores: tuple[np.ndarray, ...] | None
    logits: tuple[np.ndarray, ...] | None
    sequences_scores: np.ndarray | None = None

    def output(self, past: Any) -> GenerateOutput:
        """Returns this as JAX's arrays, with the cache that it left."""
        scored = self.sequences_scores if self.scores is not None else None
        return GenerateOutput(
            sequences=jnp.asarray(self.ids, jnp.int32),
            sequences_scores=None if scored is None else jnp.asarray(scored),
            scores=jax.tree.map(jnp.asarray, self.scores),
            logits=jax.tree.map(jnp.asarray, self.logits),
            past_key_values=past,
        )


class Kept:
    """Scores and logits of each step, where they are asked for."""

    def __init__(self, request: HostRequest):
        """Starts with none."""
        self.scores: tuple[np.ndarray, ...] | None = (
            () if request.keeps_scores else None
        )
        self.logits: tuple[np.ndarray, ...] | None = (
            () if request.keeps_logits else None
        )

    def add(self, logits: np.ndarray, scores: np.ndarray) -> None:
        """Takes those of one step."""
        if self.logits is not None:
            self.logits = (*self.logits, logits)
        if self.scores is not None:
            self.scores = (*self.scores, scores)


def choose_on_host(
    steps: Steps, logits: np.ndarray, ids: np.ndarray, request: HostRequest
) -> HostAnswers:
    """Returns answers, each token the best or drawn.

    Args:
      steps: The model, which has read the prompts.
      logits: What it said after them, [B, V].
      ids: The prompts, [B, L].
      request: What shall come.
    """
    is_open = np.ones(len(ids), bool)
    kept = Kept(request)
    for i in range(request.room):
        scores = request.process(ids, logits.copy())
        kept.add(logits, scores)
        chosen = np.where(is_open, _choose(scores, request.draws), request.pad_id)
        ids = np.concatenate([ids, chosen[:, None]], axis=1)
        if request.put is not None:
            request.put(chosen)
        is_open &= ~request.ends(ids, kept.scores)
        if not is_open.any() or i == request.room - 1:
            break
        logits = steps.advance(chosen)
    return HostAnswers(ids=ids, scores=kept.scores, logits=kept.logits)


def _choose(scores: np.ndarray, draws: np.random.Generator | None) -> np.ndarray:
    if np.isnan(scores).any() or not (scores > -np.inf).any(axis=1).all():
        raise ValueError(
            "No token is left to choose: the scores of a row are NaN or all -inf. Look at "
            "logits_processor, bad_words_ids and suppress_tokens."
        )
    if draws is not None:
        # The highest of scores with Gumbel noise is a draw from their softmax.
        scores = scores + draws.gumbel(size=scores.shape)
    return scores.argmax(axis=1)
