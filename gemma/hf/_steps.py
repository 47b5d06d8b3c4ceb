"""Logits of the next token on the host, one pass at a time.

Axes: B batch, L length, V vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gemma.gm.typing import Cache, Params
from gemma.hf._dynamic_cache import DynamicCache
from gemma.hf._model import PreTrainedModel

_LEAST_LENGTH = 64


class Steps(Protocol):
    """A model that goes on from tokens.

    Attributes:
      num_passes: How often the model ran.
    """

    num_passes: int

    def prefill(self, given: Mapping[str, Any]) -> np.ndarray:
        """Returns the logits after prompts, [B, V]; these are arguments of a pass."""
        ...

    def advance(self, tokens: np.ndarray) -> np.ndarray:
        """Returns the logits after one more token in each row, [B, V]."""
        ...

    def select(self, rows: np.ndarray) -> None:
        """Goes on with these rows instead, some of them perhaps several times."""
        ...


class CachedSteps:
    """Steps over keys and values that are kept."""

    def __init__(self, model: PreTrainedModel, params: Params, past: DynamicCache):
        """Takes the model, and the cache that grows."""
        self.num_passes = 0
        self.past = past
        self._model, self._params = model, params

    def prefill(self, given: Mapping[str, Any]) -> np.ndarray:
        """See `Steps`."""
        self.num_passes += 1
        found = self._model.forward(
            **given,
            past_key_values=self.past,
            use_cache=True,
            logits_to_keep=1,
            params=self._params,
        )
        return on_host(found["logits"][:, -1])

    def advance(self, tokens: np.ndarray) -> np.ndarray:
        """See `Steps`."""
        return self.prefill({"input_ids": jnp.asarray(tokens[:, None], jnp.int32)})

    def select(self, rows: np.ndarray) -> None:
        """See `Steps`."""
        self.past.select(rows)


class WholeSteps:
    """Steps without a cache: the whole sequence goes through the model in each."""

    def __init__(self, model: PreTrainedModel, params: Params):
        """Takes the model."""
        self.num_passes = 0
        self._model, self._params = model, params
        self._ids = self._mask = np.zeros((0, 0), np.int32)
        self._images: dict[str, Any] = {}

    def prefill(self, given: Mapping[str, Any]) -> np.ndarray:
        """See `Steps`."""
        self._ids = np.asarray(given["input_ids"])
        self._mask = np.asarray(given["attention_mask"]).astype(np.int32)
        names = ("pixel_values",)
        self._images = {n: given[n] for n in names if given.get(n) is not None}
        return self._run()

    def advance(self, tokens: np.ndarray) -> np.ndarray:
        """See `Steps`."""
        self._ids = np.concatenate([self._ids, tokens[:, None]], axis=1)
        new = np.ones((len(tokens), 1), np.int32)
        self._mask = np.concatenate([self._mask, new], axis=1)
        return self._run()

    def select(self, rows: np.ndarray) -> None:
        """See `Steps`."""
        if self._images and len(rows) != len(self._ids):
            raise ValueError(
                "Several answers to prompts with images need use_cache=True."
            )
        self._ids, self._mask = self._ids[rows], self._mask[rows]

    def _run(self) -> np.ndarray:
        self.num_passes += 1
        length = self._ids.shape[1]
        # A program is compiled for each length, so there are few of them.
        added = ((0, 0), (0, doubled_until(length) - length))
        found = self._model.forward(
            input_ids=jnp.asarray(np.pad(self._ids, added), jnp.int32),
            attention_mask=jnp.asarray(np.pad(self._mask, added)),
            use_cache=False,
            logits_to_keep=np.array([length - 1]),
            params=self._params,
            **self._images,
        )
        return on_host(found["logits"][:, -1])


class AheadSteps:
    """Steps of one row that read several tokens at once: one, and those that may follow.

    Where a token that comes is the one that was foreseen, its logits are there already.
    What they are does not depend on what was foreseen.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        params: Params,
        foresee: Callable[[list[int]], Sequence[int]],
        *,
        num_ahead: int,
        max_length: int,
    ):
        """Makes a cache.

        Args:
          model: The model.
          params: Its params.
          foresee: Returns tokens that may follow ids: some, or none.
          num_ahead: The most of these.
          max_length: The most tokens of the row.
        """
        self.num_passes = 0
        self._model, self._params = model, params
        self._foresee, self._num_ahead = foresee, num_ahead
        self._cache = rewindable_cache(model, params, num_ahead, max_length)
        self._ids: list[int] = []
        self._ahead: list[tuple[int, np.ndarray]] = []

    def prefill(self, given: Mapping[str, Any]) -> np.ndarray:
        """See `Steps`."""
        is_real = np.asarray(given["attention_mask"])[0].astype(bool)
        self._ids = np.asarray(given["input_ids"])[0][is_real].tolist()
        return self._run(self._ids, begin=0, keep=1)[0]

    def advance(self, tokens: np.ndarray) -> np.ndarray:
        """See `Steps`."""
        token = int(tokens[0])
        self._ids.append(token)
        if self._ahead and self._ahead[0][0] == token:
            return self._ahead.pop(0)[1]
        following = list(self._foresee(self._ids))[: self._num_ahead]
        if following:  # One length, so that one program is compiled.
            following += [following[-1]] * (self._num_ahead - len(following))
        logits = self._run([token, *following], begin=len(self._ids) - 1)
        self._ahead = list(zip(following, logits[1:], strict=True))
        return logits[0]

    def select(self, rows: np.ndarray) -> None:
        """See `Steps`."""
        if rows.tolist() != [0]:
            raise ValueError("Tokens are foreseen for one answer at a time.")

    def _run(self, ids: list[int], *, begin: int, keep: int = 0) -> list[np.ndarray]:
        self.num_passes += 1
        cache = {**self._cache, "end": jnp.array([begin], jnp.int32)}
        found = self._model.forward(
            input_ids=jnp.array([ids], jnp.int32),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
            params=self._params,
        )
        self._cache = found["past_key_values"]
        return [row[None] for row in on_host(found["logits"][0])]


def rewindable_cache(
    model: PreTrainedModel, params: Params, num_ahead: int, max_length: int
) -> Cache:
    """Returns an empty cache of one row that can forget the last tokens."""
    return model.transformer.init_cache(
        batch_size=1,
        cache_length=doubled_until(max_length + num_ahead + 1),
        rewind_length=num_ahead + 1,
        dtype=model.transformer.cache_dtype(params),
    )


def doubled_until(length: int) -> int:
    """Returns the least of some lengths that is enough."""
    found = _LEAST_LENGTH
    while found < length:
        found *= 2
    return found


def on_host(logits: jax.Array) -> np.ndarray:
    """Returns logits as an array of float32 that may be written to."""
    return np.array(logits, np.float32)
