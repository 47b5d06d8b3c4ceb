"""What a sampler knows when an answer has ended, so that it can go on from there.

A cache holds keys and values of tokens in their order, so it serves every text that
begins with the same tokens: what two texts share is not computed again.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gemma.gm.nn import Transformer, can_rewind, in_mesh_of
from gemma.gm.text._pictures import common_length
from gemma.gm.text._prompts import EncodedPrompt
from gemma.gm.typing import Cache, Params


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """The tokens of some rows, and the keys and values of these.

    It never changes: samplers go on from a copy, so one state can be the beginning of
    several answers.

    Attributes:
      model: The model.
      params: Its params.
      prompts: Tokens and images of each row, prompt and answer.
      cache: Keys and values of at least all of them but the last.
      cache_length: The most tokens a row may have.
    """

    model: Transformer
    params: Params
    prompts: tuple[EncodedPrompt, ...]
    cache: Cache
    cache_length: int

    @property
    def token_ids(self) -> tuple[tuple[int, ...], ...]:
        """Tokens of each row, prompt and answer."""
        return tuple(tuple(prompt.token_ids) for prompt in self.prompts)

    @functools.cached_property
    def logits(self) -> Float[Array, "B V"]:
        """Scores of what may follow the last token of each row."""
        begin = np.array([len(ids) - 1 for ids in self.token_ids], np.int32)
        last = np.array([[ids[-1]] for ids in self.token_ids], np.int32)
        with in_mesh_of(self.params):
            cache = self._cache_at(begin)
            return _next_logits(self.model, self.params, cache, last)[0]

    def check_fits(self, num_rows: int, params: Params, cache_length: int) -> None:
        """Raises ValueError if a sampler cannot go on from here with so many prompts."""
        if len(self.prompts) != num_rows:
            raise ValueError(
                f"last_state has {len(self.prompts)} rows for {num_rows} prompts."
            )
        if self.params is not params or self.cache_length != cache_length:
            raise ValueError(
                "last_state was made by another sampler: with other params, or with "
                f"cache_length={self.cache_length} and not {cache_length}."
            )

    def shared_lengths(self, prompts: Sequence[EncodedPrompt]) -> list[int]:
        """Returns how many tokens of each prompt the cache holds already.

        The last token of a prompt never counts: a decode step takes it.
        """
        written = np.asarray(self.cache["end"]).tolist()
        rows = zip(prompts, self.prompts, written, strict=True)
        return [self._shared_length(*row) for row in rows]

    def _shared_length(
        self, prompt: EncodedPrompt, known: EncodedPrompt, written: int
    ) -> int:
        common = common_length(prompt, known, self.model.config.vision)
        length = min(common, written, len(prompt.token_ids) - 1)
        if can_rewind(self.model.config, self.cache, written=written, length=length):
            return length
        return 0

    def cache_of(self, lengths: Sequence[int]) -> Cache:
        """Returns a copy of the cache with so many tokens of each row."""
        return self._cache_at(np.array(lengths, np.int32))

    def _cache_at(self, end: np.ndarray) -> Cache:
        return {**_copied(self.cache), "end": jax.device_put(end)}


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class SamplerOutput:
    """What `Sampler.sample` returns with `return_state`.

    Attributes:
      text: The answer, or a list of them.
      state: From which other answers can go on.
      tokens: The tokens of the answer, int32, one that ended it included; or a list of
        such arrays.
    """

    text: str | list[str]
    state: State | None
    tokens: Int[np.ndarray, "n"] | list[Int[np.ndarray, "n"]]


@jax.jit
def _copied(cache: Cache) -> Cache:
    return jax.tree.map(jnp.copy, cache)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _next_logits(
    model: Transformer, params: Params, cache: Cache, tokens: Array
) -> tuple[Float[Array, "B V"], Cache | None]:
    options = {"cache": cache, "last_only": True}
    found = model.apply({"params": params}, tokens, **options)
    return found.logits, found.cache  # in place of the one given
