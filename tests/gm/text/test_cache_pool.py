"""A cache that was used is as good as a new one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma.gm import kernels
from gemma.gm.text import Sampler
from gemma.gm.text._cache_pool import CachePool

needs_library = pytest.mark.skipif(
    not kernels.available(), reason="the kernels were not built: no C++ compiler"
)
OPTIONS = {"max_new_tokens": 12, "num_logprobs": 2}


def spoiled(cache):
    """Returns a cache whose slots hold NaN."""
    return jax.tree.map(
        lambda x: jnp.full_like(x, jnp.nan) if x.dtype == jnp.float32 else x, cache
    )


@needs_library
@pytest.mark.slow
@pytest.mark.parametrize("length", [1, 5, 30])
def test_what_a_cache_held_does_not_matter(tiny, tiny_sampler, random_tokens, length):
    """Prompts of every length beside the window, in a cache full of NaN."""
    shared = tiny_sampler(tiny.name)
    sampler = Sampler(
        model=tiny.model,
        params=tiny.params,
        tokenizer=shared.tokenizer,
        cache_length=shared.cache_length,
    )
    prompt = random_tokens((1, length), 3)[0].tolist()
    expected = sampler.generate(prompt, **OPTIONS)
    (rows, cache) = sampler._caches._idle[0]
    sampler._caches._idle[0] = rows, spoiled(cache)
    assert sampler.generate(prompt, **OPTIONS) == expected


@needs_library
def test_a_cache_is_for_one_answer_at_a_time():
    pool, made = CachePool(jnp.float32), []

    def make():
        made.append({"end": np.array([9]), "k": object()})
        return made[-1]

    first, second = pool.take(1, make), pool.take(1, make)
    assert first is not second
    pool.give(1, first)
    again = pool.take(1, make)
    assert again["k"] is first["k"]
    assert again["end"].tolist() == [0]
    assert pool.take(1, make) is made[2]


@needs_library
def test_a_cache_of_other_rows_is_not_taken():
    pool = CachePool(jnp.float32)
    pool.give(2, {"end": np.zeros(2)})
    assert pool.take(1, lambda: "new") == "new"


def test_caches_that_xla_reads_are_not_used_again():
    pool = CachePool(jnp.bfloat16)
    pool.give(1, {"end": np.zeros(1)})
    assert pool.take(1, lambda: "new") == "new"
