"""Rotary positions against complex numbers, and what they are for."""

import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

from gemma.gm.math import apply_rope, rope_table

POSITIONS = np.array([[0, 1, 2, 100, 257], [5, 0, 31, 7, 1000]], np.int32)


def rotate(x, positions, *, head_dim=8, theta=10_000.0, factor=1.0):
    table = rope_table(
        jnp.asarray(positions), head_dim=head_dim, theta=theta, factor=factor
    )
    return apply_rope(jnp.asarray(x, jnp.float32), table)


def reference(x, positions, theta, factor):
    """Rotates entry i and entry i + H/2 as one complex number."""
    half = x.shape[-1] // 2
    frequency = theta ** (-np.arange(half) / half) / factor
    angle = positions[:, :, None, None] * frequency
    number = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angle)
    return np.concatenate([number.real, number.imag], axis=-1)


@pytest.mark.parametrize(("theta", "factor"), [(1e4, 1.0), (1e6, 1.0), (1e6, 8.0)])
def test_rotation_is_a_complex_product(theta, factor):
    x = np.random.default_rng(0).normal(size=(2, 5, 3, 8))
    expected = reference(x, POSITIONS, theta, factor)
    found = rotate(x, POSITIONS, theta=theta, factor=factor)
    # float32 holds an angle of 1,000 to 6e-5.
    np.testing.assert_allclose(found, expected, atol=3e-4)


def test_position_zero_is_left_alone():
    x = np.random.default_rng(0).normal(size=(1, 1, 2, 8)).astype(np.float32)
    assert_close(rotate(x, [[0]]), x, law="identical")


def test_products_depend_on_distance_alone():
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 1, 1, 1, 8))
    near = jnp.sum(rotate(q, [[7]]) * rotate(k, [[3]]))
    far = jnp.sum(rotate(q, [[107]]) * rotate(k, [[103]]))
    np.testing.assert_allclose(near, far, atol=1e-4)


def test_a_stretch_of_8_makes_position_8_of_1():
    x = np.random.default_rng(0).normal(size=(1, 1, 1, 8))
    assert_close(rotate(x, [[8]], factor=8.0), rotate(x, [[1]]), law="formula")


def test_bfloat16_heads_do_not_round_positions():
    """bfloat16 cannot tell 256 from 257; the table does."""
    x = jnp.ones((1, 2, 1, 8), jnp.bfloat16)
    table = rope_table(jnp.array([[256, 257]]), head_dim=8, theta=1e4)
    found = apply_rope(x, table)
    assert found.dtype == jnp.bfloat16
    assert jnp.abs(found[0, 0] - found[0, 1]).max() > 0.3
