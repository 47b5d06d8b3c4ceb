"""Tokens that may follow: found in the prompt, or made by a smaller model."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from gemma.gm.typing import Params
from gemma.hf._model import PreTrainedModel
from gemma.hf._steps import rewindable_cache


class PromptLookup:
    """Finds what followed the last tokens where they stood before."""

    def __init__(self, num_tokens: int, max_ngram: int):
        """Says how many tokens to return, and how many must be the same before them."""
        self._num_tokens, self._max_ngram = num_tokens, max_ngram

    def __call__(self, ids: Sequence[int]) -> list[int]:
        """Returns tokens that may follow these; none if nothing like them was there."""
        row = np.asarray(ids)
        for size in range(min(self._max_ngram, len(row) - 1), 0, -1):
            windows = np.lib.stride_tricks.sliding_window_view(row[:-1], size)
            found = np.flatnonzero((windows == row[-size:]).all(axis=1))
            if found.size:
                begin = int(found[-1]) + size
                return row[begin : begin + self._num_tokens].tolist()
        return []


class Assistant:
    """A smaller model of the same tokenizer, which takes the best token each time."""

    def __init__(
        self, model: PreTrainedModel, params: Params, num_tokens: int, max_length: int
    ):
        """Makes its cache, for a row of so many tokens."""
        self._model, self._params = model, params
        self._num_tokens = num_tokens
        self._cache = rewindable_cache(model, params, num_tokens, max_length)
        self._read: list[int] = []

    def __call__(self, ids: Sequence[int]) -> list[int]:
        """Returns what it would write on these."""
        same = _num_same(self._read, ids[:-1])
        # Once the prompt is read there are one or two new tokens.
        logits = None
        if not self._read:
            logits = self._run(list(ids), 0)
        else:
            for i in range(same, len(ids)):
                logits = self._run([ids[i]], i)
        self._read, found = list(ids), []
        for _ in range(self._num_tokens):
            assert logits is not None
            found.append(int(logits.argmax()))
            if len(found) == self._num_tokens:
                break
            logits = self._run(found[-1:], len(self._read))
            self._read.append(found[-1])
        return found

    def _run(self, ids: list[int], begin: int) -> np.ndarray:
        output = self._model.forward(
            input_ids=jnp.array([ids], jnp.int32),
            past_key_values={**self._cache, "end": jnp.array([begin], jnp.int32)},
            use_cache=True,
            logits_to_keep=1,
            params=self._params,
        )
        self._cache = output["past_key_values"]
        return np.asarray(output["logits"][0, -1], np.float32)


def _num_same(first: Sequence[int], second: Sequence[int]) -> int:
    """Returns how many tokens two rows begin with alike."""
    for i, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return i
    return min(len(first), len(second))
