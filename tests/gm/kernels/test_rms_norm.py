"""The norm in C++ against the formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma.gm import kernels, math


def inputs(rows: int, width: int) -> tuple:
    rng = np.random.default_rng(width)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    return draw(rows, width), draw(width), draw(rows, width)


@pytest.mark.parametrize("width", [1, 7, 15, 16, 17, 33, 640])
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_norm_equals_the_formula(width, rows, instruction_set):
    del instruction_set
    x, scale, residual = inputs(rows, width)
    expected = math.rms_norm(x, scale, eps=1e-6)
    found = kernels.rms_norm(x, scale, eps=1e-6)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)
    found = kernels.rms_norm(x, scale, eps=1e-6, residual=residual)
    np.testing.assert_allclose(found, residual + expected, rtol=2e-6, atol=2e-6)


def test_more_axes_no_rows_and_extremes():
    scale = jnp.zeros([8])
    assert kernels.rms_norm(jnp.ones([0, 8]), scale, eps=1e-6).shape == (0, 8)
    x = jnp.ones([2, 3, 8]) * jnp.array([0.0, 1e-30, 1e18])[None, :, None]
    np.testing.assert_allclose(
        kernels.rms_norm(x, scale, eps=1e-6), math.rms_norm(x, scale, eps=1e-6)
    )


def test_gradients_are_those_of_the_formula():
    x, scale, residual = inputs(3, 20)

    def loss(norm):
        return lambda *arrays: jnp.sum(jnp.sin(norm(*arrays)))

    found = jax.grad(
        loss(lambda x, s, r: kernels.rms_norm(x, s, eps=1e-6, residual=r)), (0, 1, 2)
    )(x, scale, residual)
    expected = jax.grad(
        loss(lambda x, s, r: r + math.rms_norm(x, s, eps=1e-6)), (0, 1, 2)
    )(x, scale, residual)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
