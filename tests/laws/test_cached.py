"""Cached = uncached: tokens fed one by one give the logits of one full pass."""

import jax.numpy as jnp
import pytest
from tolerances import assert_close

LENGTH = 17  # longer than any window, twice over


@pytest.mark.slow
def test_token_by_token_equals_one_pass(tiny, random_tokens):
    tokens = random_tokens((2, LENGTH))
    whole = tiny.apply(tokens).logits
    cache = tiny.model.init_cache(batch_size=2, cache_length=24)
    steps = []
    for i in range(LENGTH):
        out = tiny.apply(tokens[:, i : i + 1], cache=cache)
        cache = out.cache
        steps.append(out.logits)
    assert_close(jnp.concatenate(steps, axis=1), whole, law="cached")
    assert cache["end"].tolist() == [LENGTH, LENGTH]


def test_cache_may_be_just_long_enough(tiny_model, random_tokens):
    """The last slot of a full cache is used like any other."""
    tiny, tokens = tiny_model("gemma1_mqa"), random_tokens((1, 4))
    cache = tiny.model.init_cache(batch_size=1, cache_length=4)
    for i in range(4):
        out = tiny.apply(tokens[:, i : i + 1], cache=cache)
        cache = out.cache
    whole = tiny.apply(tokens, last_only=True).logits
    assert_close(out.logits[:, -1], whole, law="cached")


def test_inactive_row_keeps_its_cache(tiny_model, random_tokens):
    """A masked token leaves no trace: the row goes on as if it had not been."""
    tiny, tokens = tiny_model("gemma2_gqa"), random_tokens((2, 7))
    cache = tiny.model.init_cache(batch_size=2, cache_length=24)
    for i in range(7):
        active = jnp.array([[True], [i != 5]])
        out = tiny.apply(tokens[:, i : i + 1], cache=cache, mask=active)
        cache = out.cache
    assert cache["end"].tolist() == [7, 6]
    shorter = jnp.delete(tokens[1:], 5, axis=1)
    expected = tiny.apply(shorter, last_only=True).logits
    assert_close(out.logits[1:, -1], expected, law="cached")
