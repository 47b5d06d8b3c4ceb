"""The norms: in float32, cast down last; that of Gemma adds one to its weight."""

import jax.numpy as jnp
import numpy as np
from tolerances import assert_close

from gemma.gm.math import layer_norm, rms_norm


def reference(x, scale, eps):
    x, scale = np.float64(x), np.float64(scale)
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps) * (1 + scale)


def test_norm_is_its_formula():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 4, 8)).astype(np.float32)
    scale = rng.normal(size=8).astype(np.float32)
    found = rms_norm(jnp.asarray(x), jnp.asarray(scale), eps=1e-2)
    assert_close(found, reference(x, scale, 1e-2), law="formula")


def test_zero_weight_is_a_plain_norm_and_zero_stays_zero():
    x = jnp.array([[3.0, 4.0], [0.0, 0.0]])
    found = rms_norm(x, jnp.zeros(2), eps=1e-6)
    root = np.sqrt(12.5)
    assert_close(found, [[3 / root, 4 / root], [0, 0]], law="formula")


def test_the_weight_multiplies_before_rounding():
    """The other order, Llama's, rounds twice and gives other bits."""
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(64, 16)), jnp.bfloat16)
    scale = jnp.asarray(rng.normal(size=16), jnp.bfloat16)
    expected = reference(x, scale, 1e-6).astype(np.float32).astype(jnp.bfloat16)
    found = rms_norm(x, scale, eps=1e-6)
    assert found.dtype == jnp.bfloat16
    llama = reference(x, jnp.zeros_like(scale), 1e-6).astype(jnp.bfloat16)
    llama = llama * (1 + scale)[None, :]
    assert np.mean(np.asarray(found) != expected) < 0.01
    assert np.mean(np.asarray(llama) != expected) > 0.1


def layer_reference(x, scale, bias, eps):
    x, scale, bias = np.float64(x), np.float64(scale), np.float64(bias)
    spread = np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    return (x - x.mean(axis=-1, keepdims=True)) / spread * scale + bias


def test_layer_norm_is_its_formula():
    rng = np.random.default_rng(2)
    x = (3 + rng.normal(size=(2, 3, 8))).astype(np.float32)
    scale, bias = rng.normal(size=(2, 8)).astype(np.float32)
    found = layer_norm(*map(jnp.asarray, (x, scale, bias)), eps=1e-2)
    assert_close(found, layer_reference(x, scale, bias, 1e-2), law="formula")


def test_layer_norm_of_equal_numbers_is_its_bias():
    found = layer_norm(jnp.full((2, 4), 7.0), jnp.ones(4), jnp.arange(4.0), eps=1e-6)
    assert_close(found, [[0, 1, 2, 3]] * 2, law="identical")


def test_layer_norm_of_bfloat16_is_rounded_once():
    rng = np.random.default_rng(3)
    x, scale, bias = (
        jnp.asarray(rng.normal(size=shape), jnp.bfloat16)
        for shape in [(64, 16), (16,), (16,)]
    )
    expected = layer_reference(x, scale, bias, 1e-6).astype(np.float32)
    found = layer_norm(x, scale, bias, eps=1e-6)
    assert found.dtype == jnp.bfloat16
    assert np.mean(np.asarray(found) != expected.astype(jnp.bfloat16)) < 0.01
