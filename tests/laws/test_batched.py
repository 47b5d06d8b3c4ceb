"""Batched = single: a row gets what it would get alone, whatever is beside it."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

from gemma.gm.text import Sampling
from gemma.gm.text._prefill import feed_chunk, prefill

# Shorter than a chunk, exactly one, more than two: 1, 8 and 19 tokens.
LENGTHS = (1, 8, 19)


@pytest.fixture
def prompts(random_tokens) -> list[list[int]]:
    tokens = random_tokens((3, max(LENGTHS)), 3).tolist()
    return [row[:length] for row, length in zip(tokens, LENGTHS, strict=True)]


@pytest.mark.slow
def test_ragged_prompts_equal_each_alone(tiny, prompts):
    cache = tiny.model.init_cache(batch_size=3, cache_length=48)
    feed = {8: functools.partial(feed_chunk, tiny.model)}
    cache = prefill(tiny.params, cache, prompts, feed=feed)
    last = jnp.array([prompt[-1:] for prompt in prompts])
    logits = tiny.apply(last, cache=cache, last_only=True).logits
    for row, prompt in enumerate(prompts):
        padded = jnp.array([prompt + [0] * (max(LENGTHS) - len(prompt))])
        alone = tiny.apply(padded).logits[:, len(prompt) - 1]
        assert_close(logits[row : row + 1], alone, law="batched")


@pytest.mark.slow
def test_batch_answers_like_each_alone(tiny, tiny_sampler, prompts):
    """Greedy and random rows together, which end at different times."""
    sampler = tiny_sampler(tiny.name)
    samplings = [
        Sampling(),
        Sampling(temperature=1.0),
        Sampling(temperature=0.7, top_k=20, top_p=0.9),
    ]
    options = {"max_new_tokens": 12, "num_logprobs": 3}
    together = sampler.generate(prompts, sampling=samplings, rng=[5, 6, 7], **options)
    for i, prompt in enumerate(prompts):
        alone = sampler.generate(prompt, sampling=samplings[i], rng=[5 + i], **options)
        assert together[i].token_ids == alone.token_ids
        assert together[i].text == alone.text
        assert together[i].finish_reason == alone.finish_reason
        for ours, theirs in zip(together[i].logprobs, alone.logprobs, strict=True):
            assert [t for t, _ in ours.top] == [t for t, _ in theirs.top]
            assert_close(values(ours), values(theirs), law="batched")


def values(logprobs) -> np.ndarray:
    return np.array([logprobs.chosen, *(value for _, value in logprobs.top)])


@pytest.mark.slow
def test_neighbours_do_not_matter(tiny_sampler, prompts):
    """The middle row of two batches that have nothing else in common."""
    sampler = tiny_sampler("gemma2_gqa")
    other = [[9, 10, 11], prompts[1], [12] * 20]
    options = {
        "max_new_tokens": 10,
        "rng": [1, 2, 3],
        "sampling": Sampling(temperature=1.0),
    }
    first = sampler.generate(prompts, **options)
    second = sampler.generate(other, **options)
    assert first[1].token_ids == second[1].token_ids
