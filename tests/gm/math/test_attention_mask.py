"""Who sees whom, against the words of the definition."""

import jax.numpy as jnp
import numpy as np
import pytest

from gemma.gm.math import attention_mask, ends_of_runs


@pytest.mark.parametrize("window", [None, 1, 2, 3, 100])
def test_mask_is_its_definition(window):
    rng = np.random.default_rng(0)
    queries = rng.integers(0, 12, (2, 5)).astype(np.int32)
    keys = rng.integers(-1, 12, (2, 9)).astype(np.int32)
    mask = attention_mask(jnp.asarray(queries), jnp.asarray(keys), window=window)
    for (b, i, j), seen in np.ndenumerate(mask):
        query, key = queries[b, i], keys[b, j]
        in_window = window is None or query - key < window
        assert seen == (0 <= key <= query and in_window)


def test_window_counts_the_query_itself():
    place = jnp.arange(4)[None]
    assert attention_mask(place, place, window=2)[0].tolist() == [
        [True, False, False, False],
        [True, True, False, False],
        [False, True, True, False],
        [False, False, True, True],
    ]


def test_soft_tokens_that_follow_one_another_see_one_another():
    """Two images with text between, the window's left side, and rows that differ."""
    is_soft = jnp.array([[0, 1, 1, 1, 0, 1, 1], [0, 0, 0, 0, 0, 0, 1]], bool)
    place = jnp.broadcast_to(jnp.arange(7, dtype=jnp.int32), (2, 7))
    ends = ends_of_runs(place, is_soft)
    assert ends.tolist() == [[0, 3, 3, 3, 4, 6, 6], [0, 1, 2, 3, 4, 5, 6]]
    mask = attention_mask(place, place, window=3, last_seen=ends).astype(int)
    assert mask[0].tolist() == [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 0, 0, 0],
        [0, 0, 1, 1, 1, 0, 0],
        [0, 0, 0, 1, 1, 1, 1],
        [0, 0, 0, 0, 1, 1, 1],
    ]
    np.testing.assert_array_equal(mask[1], attention_mask(place, place, window=3)[1])
