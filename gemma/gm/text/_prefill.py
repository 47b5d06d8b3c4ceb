"""The prompt goes into the cache, in chunks of one size.

Axes: B batch, L prompt length, C chunk length, D model width.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gemma.gm.nn import Transformer
from gemma.gm.typing import Cache, Params


def prefill(
    params: Params,
    cache: Cache,
    x: Float[Array | np.ndarray, "B D"],
    prompts: Sequence[Sequence[int]],
    *,
    feed: Mapping[int, Callable[..., Any]],
) -> tuple[Float[Array | np.ndarray, "B D"], Cache]:
    """Writes the prompts behind what the cache holds.

    The length of the prompts never recompiles: each call of the model takes a chunk.

    Args:
      params: Params of the model.
      cache: Given away: only the returned one may be used afterwards.
      x: Zeros, of the dtype of the model's features.
      prompts: Token ids of each row, at least one each.
      feed: `feed_chunk` of the model, by the lengths that chunks may have.

    Returns:
      The model's features of the last token of each prompt, and the cache.
    """
    lengths = np.array([len(prompt) for prompt in prompts])
    begin, end = 0, int(max(lengths))
    while begin < end:
        length = _chunk_length(end - begin, sorted(feed))
        tokens, mask = _cut_chunk(prompts, begin, length)
        ends_here = (lengths > begin) & (lengths <= begin + length)
        x, cache = feed[length](params, cache, tokens, mask, x, ends_here)
        begin += length
    return x, cache


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
    x: Float[Array, "B D"],
    ends_here: Bool[Array, "B"],
) -> tuple[Float[Array, "B D"], Cache]:
    """Returns the features of the prompts that end in this chunk, and the cache."""
    found = model.features(
        {"params": params}, tokens, mask=mask, cache=cache, last_only=True
    )
    assert found.cache is not None
    return jnp.where(ends_here[:, None], found.x, x), found.cache
