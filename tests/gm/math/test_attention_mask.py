"""Who sees whom, against the words of the definition."""

import jax.numpy as jnp
import numpy as np
import pytest

from gemma.gm.math import attention_mask


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
