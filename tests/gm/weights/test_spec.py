"""One statement of a weight: its random value, its shape, its size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma.gm.weights import (
    ParamSpec,
    flatten,
    init_params,
    num_out_axes,
    num_params,
    unflatten,
)

SPECS = {
    "table": ParamSpec((100, 50), axes=("vocab", "embed")),
    "layer_0": {
        "norm": ParamSpec((50,), axes=("embed",), init="zeros"),
        "mlp": {"up": ParamSpec((70, 50), axes=("hidden", "embed"))},
    },
}

names = st.text(alphabet="abc_0", min_size=1, max_size=3)
trees = st.recursive(
    st.integers(), lambda inner: st.dictionaries(names, inner, min_size=1, max_size=3)
).filter(lambda tree: isinstance(tree, dict))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_init_fits_the_specs(key, dtype):
    params = init_params(SPECS, key, dtype)
    weights, specs = flatten(params), flatten(SPECS)
    assert {path: w.shape for path, w in weights.items()} == {
        path: spec.shape for path, spec in specs.items()
    }
    assert all(w.dtype == dtype for w in weights.values())
    assert not params["layer_0"]["norm"].any()
    for path in ("table", "layer_0/mlp/up"):
        assert np.std(np.float32(flatten(params)[path])) == pytest.approx(
            0.02, rel=0.05
        )


def test_weights_differ_from_one_another_and_by_key(key):
    first, other = init_params(SPECS, key), init_params(SPECS, jax.random.key(8))
    up = first["layer_0"]["mlp"]["up"]
    assert not jnp.array_equal(first["table"][:70], up)
    assert not jnp.array_equal(first["table"], other["table"])
    again = init_params(SPECS, key)
    assert jnp.array_equal(first["table"], again["table"])


def test_sizes():
    assert num_params(SPECS) == 100 * 50 + 50 + 70 * 50


@given(trees)
def test_unflatten_undoes_flatten(tree):
    flat = flatten(tree)
    assert all(not isinstance(leaf, dict) for leaf in flat.values())
    assert unflatten(flat) == tree


def test_paths_are_in_the_order_of_the_tree():
    assert list(flatten(SPECS)) == ["table", "layer_0/norm", "layer_0/mlp/up"]


def test_names_say_which_axes_are_outputs(tiny):
    """What is summed over is the width, the hidden width, or heads and their width."""
    for path, spec in flatten(tiny.model.specs()).items():
        if len(spec.shape) > 1:
            inputs = spec.axes[num_out_axes(path) :]
            assert inputs in {("embed",), ("hidden",), ("heads", "head")}, path
