"""The prompt goes into the cache, in chunks of few sizes.

All but its last token, that is: a decode step takes that one, and chooses the next. So
nothing but keys and values is computed here, and all tokens are chosen in one place.

Axes: B batch, C chunk length.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Array, Bool, Int

from gemma.gm.nn import Transformer
from gemma.gm.typing import Cache, Params


def prefill(
    params: Params,
    cache: Cache,
    prompts: Sequence[Sequence[int]],
    *,
    feed: Mapping[int, Callable[..., Cache]],
) -> Cache:
    """Writes the prompts, but for their last tokens, behind what the cache holds.

    The length of the prompts never recompiles: each call of the model takes a chunk.

    Args:
      params: Params of the model.
      cache: Given away: only the returned one may be used afterwards.
      prompts: Token ids of each row, at least one each.
      feed: `feed_chunk` of the model, by the lengths that chunks may have.
    """
    prompts = [prompt[:-1] for prompt in prompts]
    begin, end = 0, max(map(len, prompts))
    while begin < end:
        length = _chunk_length(end - begin, sorted(feed))
        tokens, mask = _cut_chunk(prompts, begin, length)
        cache = feed[length](params, cache, tokens, mask)
        begin += length
    return cache


def _chunk_length(num_left: int, lengths: list[int]) -> int:
    """Returns the longest chunk that is at least half full, or the shortest."""
    return max((n for n in lengths if n <= 2 * num_left), default=lengths[0])


def _cut_chunk(
    prompts: Sequence[Sequence[int]], begin: int, length: int
) -> tuple[Int[np.ndarray, "B C"], Bool[np.ndarray, "B C"]]:
    tokens = np.zeros([len(prompts), length], np.int32)
    mask = np.zeros([len(prompts), length], bool)
    for row, prompt in enumerate(prompts):
        part = prompt[begin : begin + length]
        tokens[row, : len(part)] = part
        mask[row, : len(part)] = True
    return tokens, mask


@functools.partial(jax.jit, static_argnames="model", donate_argnames="cache")
def feed_chunk(
    model: Transformer,
    params: Params,
    cache: Cache,
    tokens: Int[Array, "B C"],
    mask: Bool[Array, "B C"],
) -> Cache:
    """Returns the cache with the keys and values of a chunk behind what it held."""
    found = model.features({"params": params}, tokens, mask=mask, cache=cache)
    assert found.cache is not None
    return found.cache
