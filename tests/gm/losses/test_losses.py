"""Losses against what they are by definition, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma.gm import losses
from gemma.gm.losses import IGNORED


@pytest.fixture
def logits():
    return jnp.asarray(4 * np.random.default_rng(0).normal(size=(3, 5, 7)), jnp.float32)


@pytest.fixture
def labels():
    made = np.random.default_rng(1).integers(0, 7, (3, 5))
    made[0, 1:3] = made[2] = IGNORED
    return jnp.asarray(made)


def log_probs(logits):
    x = np.asarray(logits, np.float64)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def expected_sum(logits, labels):
    places = zip(*np.nonzero(np.asarray(labels) != IGNORED), strict=True)
    return -sum(log_probs(logits)[place][labels[place]] for place in places)


def test_cross_entropy_is_the_mean_of_what_counts(logits, labels):
    expected = expected_sum(logits, labels) / 8
    np.testing.assert_allclose(losses.cross_entropy(logits, labels), expected, 1e-6)


def test_parts_that_share_a_count_add_up(logits, labels):
    parts = [losses.cross_entropy(logits[i], labels[i], count=8) for i in range(3)]
    np.testing.assert_allclose(sum(parts), losses.cross_entropy(logits, labels), 1e-6)


def test_what_is_ignored_has_no_gradient(logits, labels):
    gradient = jax.grad(losses.cross_entropy)(logits, labels)
    assert not gradient[labels == IGNORED].any()
    assert gradient[labels != IGNORED].all()


def test_each_place_foresees_the_next(logits, labels):
    expected = expected_sum(logits[:, :-1], labels[:, 1:]) / int(
        (labels[:, 1:] >= 0).sum()
    )
    found = losses.next_token_cross_entropy(logits, labels)
    np.testing.assert_allclose(found, expected, 1e-6)


def test_nothing_that_counts_is_not_a_number(logits):
    assert np.isnan(losses.cross_entropy(logits, jnp.full((3, 5), IGNORED)))


def test_narrow_logits_are_summed_in_float32(logits, labels):
    narrow = jnp.asarray(logits, jnp.bfloat16)
    expected = losses.cross_entropy(narrow.astype(jnp.float32), labels)
    assert losses.cross_entropy(narrow, labels) == expected


def test_squared_error(logits):
    other = logits[::-1]
    expected = np.mean(np.square(np.asarray(logits, np.float64) - other))
    np.testing.assert_allclose(losses.squared_error(logits, other), expected, 1e-6)


def test_binary_cross_entropy(logits):
    right = jnp.asarray(np.random.default_rng(2).random(logits.shape), jnp.float32)
    p = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    expected = -np.mean(right * np.log(p) + (1 - right) * np.log(1 - p))
    found = losses.binary_cross_entropy(logits, right)
    np.testing.assert_allclose(found, expected, 1e-6)


@pytest.mark.parametrize("x", [-1e4, 1e4])
def test_binary_cross_entropy_of_large_scores_is_finite(x):
    found = losses.binary_cross_entropy(jnp.array([x]), jnp.array([float(x > 0)]))
    assert found == 0
