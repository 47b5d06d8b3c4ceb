"""Attention against loops in float64, and in blocks against in one piece."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import assert_close

from gemma.gm.math import (
    Keys,
    Queries,
    attention_mask,
    blockwise_attention,
    dot_product_attention,
)

jit_blockwise = jax.jit(
    blockwise_attention, static_argnames=("scale", "softcap", "window")
)
jit_attention = jax.jit(dot_product_attention, static_argnames=("scale", "softcap"))


def some(shape, seed, scale=1.0, dtype=jnp.float32):
    return jnp.asarray(scale * np.random.default_rng(seed).normal(size=shape), dtype)


def reference(q, k, v, mask, scale, softcap):
    """One query, one head at a time."""
    out, weights = (
        np.zeros(q.shape),
        np.zeros([q.shape[0], q.shape[2], *mask.shape[1:]]),
    )
    group = q.shape[2] // k.shape[1]
    for b, i, n in np.ndindex(q.shape[:3]):
        score = scale * k[b, n // group] @ q[b, i, n]
        if softcap is not None:
            score = softcap * np.tanh(score / softcap)
        score = np.where(mask[b, i], score, -np.inf)
        weight = np.exp(score - score.max())
        weights[b, n, i] = weight / weight.sum()
        out[b, i, n] = weights[b, n, i] @ v[b, n // group]
    return out, weights


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
def test_attention_is_its_formula(num_kv_heads, softcap):
    q = some((2, 3, 4, 8), 0, scale=2.0)
    k, v = some((2, num_kv_heads, 5, 8), 1), some((2, num_kv_heads, 5, 8), 2)
    mask = np.random.default_rng(3).random((2, 3, 5)) < 0.6
    mask[:, :, 0] = True
    found = dot_product_attention(
        q, k, v, jnp.asarray(mask), scale=0.3, softcap=softcap
    )
    arrays = (np.float64(x) for x in (q, k, v))
    expected = reference(*arrays, mask, 0.3, softcap)
    assert_close(found[0], expected[0], law="formula")
    assert_close(found[1], expected[1], law="formula")


def test_query_that_sees_nothing_gets_the_average():
    q, k, v = some((1, 1, 1, 4), 0), some((1, 1, 3, 4), 1), some((1, 1, 3, 4), 2)
    out, weights = dot_product_attention(q, k, v, jnp.zeros((1, 1, 3), bool), scale=1.0)
    assert_close(weights, np.full((1, 1, 1, 3), 1 / 3), law="formula")
    assert_close(out[0, 0, 0], v[0, 0].mean(axis=0), law="formula")


def test_scores_and_softmax_of_bfloat16_are_float32():
    q, k, v = (
        some(s, i, dtype=jnp.bfloat16)
        for i, s in enumerate([(1, 2, 2, 8), (1, 1, 4, 8), (1, 1, 4, 8)])
    )
    out, weights = dot_product_attention(q, k, v, jnp.ones((1, 2, 4), bool), scale=1.0)
    assert out.dtype == jnp.bfloat16
    assert weights.dtype == jnp.float32
    assert_close(weights.sum(axis=-1), np.ones((1, 2, 2)), law="formula")


# Blocks have 256 keys: none, part of one, whole ones, and a last one that reaches back.
@pytest.mark.slow
@pytest.mark.parametrize("window", [None, 5, 300])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("slots", [7, 256, 600])
def test_blockwise_equals_one_piece(slots, softcap, window):
    L = 3
    q = some((2, L, 4, 8), 0, scale=2.0)
    cached_k, cached_v = some((2, 2, slots, 8), 1), some((2, 2, slots, 8), 2)
    new_k, new_v = some((2, 2, L, 8), 3), some((2, 2, L, 8), 4)

    @settings(max_examples=8)
    @given(st.tuples(st.integers(0, slots), st.integers(0, slots)), st.booleans())
    def check(filled, is_image):
        num_cached = jnp.array(filled, jnp.int32)
        place = jnp.arange(slots, dtype=jnp.int32)[None, :]
        positions = jnp.where(place < num_cached[:, None], place, -1)
        queries = num_cached[:, None] + jnp.arange(L, dtype=jnp.int32)[None, :]
        last_seen = jnp.broadcast_to(queries[:, -1:], (2, L)) if is_image else queries
        found = jit_blockwise(
            Queries(q, queries, last_seen),
            Keys(new_k, new_v, queries),
            Keys(cached_k, cached_v, positions),
            num_cached,
            window=window,
            scale=0.3,
            softcap=softcap,
        )
        expected, _ = jit_attention(
            q,
            jnp.concatenate([cached_k, new_k], axis=2),
            jnp.concatenate([cached_v, new_v], axis=2),
            attention_mask(
                queries,
                jnp.concatenate([positions, queries], axis=1),
                window=window,
                last_seen=last_seen,
            ),
            scale=0.3,
            softcap=softcap,
        )
        assert_close(found, expected, law="blockwise")

    check()
