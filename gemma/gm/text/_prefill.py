"""The prompt goes into the cache, in chunks of few sizes.

All but its last token, that is: a decode step takes that one, and chooses the next. So
nothing but keys and values is computed here, and all tokens are chosen in one place.

Axes: B batch, C chunk length, T soft tokens of an image, D model width, S its sides.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from gemma.gm.nn import Transformer
from gemma.gm.text._waiting import wait_for
from gemma.gm.typing import Cache, Params, Progress


def prefill(
    params: Params,
    cache: Cache,
    prompts: Sequence[Sequence[int]],
    *,
    feed: Mapping[int, Callable[..., Cache]],
    images: Sequence[Mapping[int, Float[np.ndarray, "T D"]]] = (),
    progress: Progress | None = None,
) -> Cache:
    """Writes the prompts, but for their last tokens, behind what the cache holds.

    The length of the prompts never recompiles: each call of the model takes a chunk. An
    image is never cut: its tokens look at one another.

    Args:
      params: Params of the model.
      cache: Given away: only the returned one may be used afterwards.
      prompts: Token ids of each row, at least one each.
      feed: `feed_chunk` of the model, by the lengths that chunks may have.
      images: The vectors of each row's images, by the places where they begin.
      progress: Called with the tokens read so far and in all, after each chunk.
    """
    images = images or [{}] * len(prompts)
    lengths, ends = sorted(feed), [len(prompt) - 1 for prompt in prompts]
    begins = [0] * len(prompts)
    while begins != ends:
        if any(begins):
            # One chunk at a time: Ctrl-C would be heard behind all that are begun.
            wait_for(cache["end"])
        if progress is not None:
            progress(sum(begins), sum(ends))
        left = max(end - begin for begin, end in zip(begins, ends, strict=True))
        length = _chunk_length(left, lengths)
        stops = _stops(begins, ends, images, length)
        if stops == begins:  # each row has come to an image that is longer
            length = lengths[-1]
            stops = _stops(begins, ends, images, length)
        tokens, mask = _cut_chunk(prompts, begins, stops, length)
        soft = _soft_chunk(begins, stops, images, length)
        cache = feed[length](params, cache, tokens, mask, *soft)
        begins = stops
    if progress is not None:
        progress(sum(ends), sum(ends))
    return cache


def _chunk_length(num_left: int, lengths: list[int]) -> int:
    """Returns the longest chunk that is at least half full, or the shortest."""
    return max((n for n in lengths if n <= 2 * num_left), default=lengths[0])


def _stops(
    begins: Sequence[int],
    ends: Sequence[int],
    images: Sequence[Mapping[int, np.ndarray]],
    length: int,
) -> list[int]:
    """Returns how far each row gets with a chunk, without cutting an image."""
    stops = []
    for begin, end, blocks in zip(begins, ends, images, strict=True):
        stop = min(begin + length, end)
        cut = (at for at, block in blocks.items() if at < stop < at + len(block))
        stops.append(next(cut, stop))
    return stops


def _cut_chunk(
    prompts: Sequence[Sequence[int]],
    begins: Sequence[int],
    stops: Sequence[int],
    length: int,
) -> tuple[Int[np.ndarray, "B C"], Bool[np.ndarray, "B C"]]:
    tokens = np.zeros([len(prompts), length], np.int32)
    mask = np.zeros([len(prompts), length], bool)
    for row, (prompt, begin, stop) in enumerate(
        zip(prompts, begins, stops, strict=True)
    ):
        tokens[row, : stop - begin] = prompt[begin:stop]
        mask[row, : stop - begin] = True
    return tokens, mask


def _soft_chunk(
    begins: Sequence[int],
    stops: Sequence[int],
    images: Sequence[Mapping[int, np.ndarray]],
    length: int,
) -> tuple[Float[np.ndarray, "B C D"], ...]:
    """Returns the vectors of the images in a chunk; nothing if there are none."""
    found = [
        (row, at - begin, block)
        for row, (begin, stop) in enumerate(zip(begins, stops, strict=True))
        for at, block in images[row].items()
        if begin <= at < stop
    ]
    if not found:
        return ()
    soft = np.zeros([len(begins), length, found[0][2].shape[1]], np.float32)
    for row, at, block in found:
        soft[row, at : at + len(block)] = block
    return (soft,)


@functools.partial(jax.jit, static_argnames="model", donate_argnames="cache")
def feed_chunk(
    model: Transformer,
    params: Params,
    cache: Cache,
    tokens: Int[Array, "B C"],
    mask: Bool[Array, "B C"],
    soft: Float[Array, "B C D"] | None = None,
) -> Cache:
    """Returns the cache with the keys and values of a chunk behind what it held."""
    found = model.features(
        {"params": params}, tokens, mask=mask, cache=cache, soft=soft
    )
    assert found.cache is not None
    return found.cache


@functools.partial(jax.jit, static_argnames="model")
def see_image(
    model: Transformer, params: Params, image: UInt8[Array, "1 S S 3"]
) -> Float[Array, "1 T D"]:
    """Returns the vectors that stand for an image."""
    return model.see({"params": params}, image)
