"""Padding anywhere, embeddings instead of tokens, and caches that grow."""

import jax
import jax.numpy as jnp
import pytest
from tolerances import assert_close

from gemma.gm import nn

features = jax.jit(
    nn.Transformer.features, static_argnums=0, static_argnames="return_hidden_states"
)
of_padded = jax.jit(
    nn.features_of_padded, static_argnums=0, static_argnames="return_hidden_states"
)
MASK = jnp.array([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 0, 1, 0, 1, 1]], bool)


@pytest.mark.slow
def test_padding_anywhere_equals_uncached(tiny, random_tokens):
    tokens, variables = random_tokens((3, 6)), {"params": tiny.params}
    expected = features(
        tiny.model, variables, tokens, mask=MASK, return_hidden_states=True
    )
    cache = tiny.model.init_cache(batch_size=3, cache_length=8)
    found = of_padded(
        tiny.model, variables, tokens, mask=MASK, cache=cache, return_hidden_states=True
    )
    assert_close(found.x[MASK], expected.x[MASK], law="cached")
    for mine, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        assert_close(mine[MASK], other[MASK], law="cached")
    assert found.cache["end"].tolist() == [4, 4, 4]


@pytest.mark.slow
def test_embeddings_equal_their_tokens(tiny, random_tokens):
    tokens, variables = random_tokens((2, 5)), {"params": tiny.params}
    embeddings = tiny.model.embed(variables, tokens)
    found = features(
        tiny.model, variables, jnp.zeros_like(tokens), embeddings=embeddings
    )
    expected = features(tiny.model, variables, tokens)
    assert_close(found.x, expected.x, law="cached")


@pytest.mark.slow
def test_grown_cache_goes_on_like_a_long_one(tiny, random_tokens):
    tokens, variables = random_tokens((2, 12)), {"params": tiny.params}
    expected = features(tiny.model, variables, tokens).x
    cache = tiny.model.init_cache(batch_size=2, cache_length=4)
    for begin, length in ((0, 8), (4, 12), (8, 16)):
        part = tokens[:, begin : begin + 4]
        found = features(tiny.model, variables, part, cache=cache)
        assert_close(found.x, expected[:, begin : begin + 4], law="cached")
        cache = nn.grow_cache(tiny.model.config, found.cache, length)
