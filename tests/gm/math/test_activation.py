"""Pointwise functions against their formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

from gemma.gm.math import gelu, softcap

X = np.linspace(-12, 12, 97)


def test_gelu_is_the_tanh_form():
    inner = np.sqrt(2 / np.pi) * (X + 0.044715 * X**3)
    expected = 0.5 * X * (1 + np.tanh(inner))
    assert_close(gelu(jnp.float32(X)), expected, law="formula")


@pytest.mark.parametrize("cap", [1.0, 30.0])
def test_softcap_is_its_formula(cap):
    assert_close(softcap(jnp.float32(X), cap), cap * np.tanh(X / cap), law="formula")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtype_stays(dtype):
    x = jnp.ones(3, dtype)
    assert gelu(x).dtype == softcap(x, 30.0).dtype == dtype


def test_softcap_passes_small_gradients():
    assert jax.grad(lambda x: softcap(x, 50.0))(0.0) == 1.0
