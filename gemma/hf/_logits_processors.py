"""What changes the scores of the next token, on the host.

Each is called with the ids so far, [B, L], and the scores, [B, V], and returns scores.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Processor = Callable[[np.ndarray, np.ndarray], np.ndarray]


class LogitsProcessor:
    """What users derive theirs from; any function of ids and scores will do too."""

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Returns the scores that replace these.

        Args:
          input_ids: The ids so far, [B, L], prompts included.
          scores: The scores of the next token, [B, V].
        """
        raise NotImplementedError


class LogitsProcessorList(list):
    """Several, one after another."""

    def __call__(self, input_ids: Any, scores: Any, **options: Any) -> Any:
        """Returns what the last of them returns."""
        for process in self:
            scores = process(input_ids, scores, **options)
        return scores


def repetition_penalty(penalty: float, is_real: np.ndarray | None) -> Processor:
    """Makes tokens that were there less likely; padding of prompts is none of them."""

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        scores = scores.copy()
        for row, row_ids in enumerate(ids):
            if is_real is not None:
                real = is_real[row % len(is_real)]
                row_ids = np.concatenate(
                    [row_ids[: len(real)][real], row_ids[len(real) :]]
                )
            seen = np.unique(row_ids)
            found = scores[row, seen]
            scores[row, seen] = np.where(found < 0, found * penalty, found / penalty)
        return scores

    return process


def no_repeat_ngram(size: int) -> Processor:
    """Forbids tokens that would end an n-gram that was there before."""

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        length = ids.shape[1]
        if length + 1 < size:
            return scores
        scores = scores.copy()
        windows = np.lib.stride_tricks.sliding_window_view(ids, size, axis=1)
        for row in range(len(ids)):
            last = ids[row, length - size + 1 :]
            same = (windows[row, :, :-1] == last).all(axis=1)
            scores[row, windows[row, same, -1]] = -np.inf
        return scores

    return process


def sequence_bias(biases: Mapping[tuple[int, ...], float]) -> Processor:
    """Adds to the score of a token where it would complete a sequence."""

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        added = np.zeros_like(scores)
        for sequence, bias in biases.items():
            *before, last = sequence
            if last >= scores.shape[1]:
                raise ValueError(
                    f"Token {last} is biased, and the model has {scores.shape[1]}."
                )
            if len(before) <= ids.shape[1]:
                here = ids[:, ids.shape[1] - len(before) :]
                added[(here == before).all(axis=1), last] += bias
        return scores + added

    return process


def forbid(token_ids: Sequence[int], *, below: int | None = None) -> Processor:
    """Forbids tokens; with `below` only while there are fewer ids than that."""
    unwanted = np.array(list(token_ids), np.int64)

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        if below is not None and ids.shape[1] >= below:
            return scores
        scores = scores.copy()
        scores[:, unwanted] = -np.inf
        return scores

    return process


def force(token_ids: Sequence[int], *, at: int) -> Processor:
    """Allows some tokens only, once there are so many ids."""

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        if ids.shape[1] != at:
            return scores
        only = np.full_like(scores, -np.inf)
        only[:, list(token_ids)] = 0
        return only

    return process


def allow_only(
    find: Callable[[int, Any], Sequence[int]], num_beams: int, show: Callable
) -> Processor:
    """Allows the tokens that a function of the prompt's number and the ids returns."""

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        allowed = np.full_like(scores, -np.inf)
        for row, row_ids in enumerate(ids):
            tokens = [int(i) for i in find(row // num_beams, show(row_ids))]
            if not tokens:
                raise ValueError(
                    f"prefix_allowed_tokens_fn allows no token for row {row}; at least "
                    "one is needed."
                )
            allowed[row, tokens] = scores[row, tokens]
        return allowed

    return process


def temperature(value: float) -> Processor:
    """Divides scores."""
    return lambda ids, scores: scores / np.float32(value)


def top_k(k: int) -> Processor:
    """Keeps the k highest scores, and those equal to the last of them."""

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        kept = min(k, scores.shape[1])
        least = np.partition(scores, -kept, axis=1)[:, -kept, None]
        return np.where(scores < least, -np.inf, scores)

    return process


def top_p(p: float) -> Processor:
    """Keeps the fewest tokens whose probabilities add up to p."""

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        order = np.argsort(scores, axis=1, kind="stable")
        added = np.cumsum(np.take_along_axis(softmax(scores), order, axis=1), axis=1)
        goes = added <= 1 - p
        goes[:, -1] = False
        removed = np.zeros_like(goes)
        np.put_along_axis(removed, order, goes, axis=1)
        return np.where(removed, -np.inf, scores)

    return process


def min_p(p: float) -> Processor:
    """Keeps tokens that have this part of the highest probability."""

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        found = softmax(scores)
        least = found.max(axis=1, keepdims=True) * np.float32(p)
        return np.where(found < least, -np.inf, scores)

    return process


def renormalize(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Makes log-probabilities of scores."""
    return log_softmax(scores)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Returns log-probabilities."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(scores: np.ndarray) -> np.ndarray:
    """Returns probabilities."""
    found = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return found / found.sum(axis=-1, keepdims=True)
