"""The product of activations and weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

from gemma.gm.weights import einsum, take


def some(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(
    ("spec", "x_shape", "w_shape"),
    [
        ("BLD,NHD->BLNH", (2, 3, 5), (4, 6, 5)),
        ("BLNH,DNH->BLD", (2, 3, 4, 6), (5, 4, 6)),
        ("BLD,FD->BLF", (2, 3, 5), (7, 5)),
        ("RD,VD->RV", (3, 5), (7, 5)),
        ("D,VD->V", (5,), (7, 5)),
    ],
)
def test_product_is_that_of_numpy(spec, x_shape, w_shape, dtype):
    x, w = some(x_shape), some(w_shape, 1).astype(dtype)
    expected = np.einsum(spec, np.float64(x), np.asarray(w).astype(np.float64))
    assert_close(einsum(spec, x, w), expected, law="formula")


@pytest.mark.parametrize(
    "spec", ["BLD,DF->BLF", "BLD,FD->BFL", "BLD,FD->BLFD", "BDL,FD->BLF", "BLD,FE->BLF"]
)
def test_other_specs_are_refused(spec):
    with pytest.raises(ValueError, match="axes to sum over must end both"):
        einsum(spec, some((2, 3, 5)), some((7, 5)))


def test_weight_is_converted_to_the_dtype_of_activations():
    x, w = some((2, 5)), some((7, 5)).astype(jnp.bfloat16)
    assert einsum("BD,FD->BF", x, w).dtype == jnp.float32
    assert einsum("BD,FD->BF", x.astype(jnp.bfloat16), some((7, 5))).dtype == "bfloat16"


def test_wide_result_of_narrow_operands_is_not_rounded():
    """Logits in float32 tell apart what bfloat16 would make equal."""
    x = jnp.array([[256.0, 1.0]], jnp.bfloat16)
    w = jnp.array([[1.0, 1.0]], jnp.bfloat16)
    found = einsum("BD,VD->BV", x, w, out_dtype=jnp.float32)
    assert found.dtype == jnp.float32
    assert found.item() == 257.0


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_take_returns_rows(dtype):
    w = some((7, 5)).astype(dtype)
    ids = jnp.array([[6, 0], [3, 3]])
    assert_close(take(w, ids), np.asarray(w)[np.asarray(ids)], law="identical")
    # Each row as often as it was taken.
    counted = jax.grad(lambda w: take(w, ids).sum())(w)
    np.testing.assert_array_equal(counted[:, 0], [1, 0, 0, 2, 0, 0, 1])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_a_loop_takes_rows_where_they_lie(dtype):
    """XLA would move the conversion of the whole table out of the loop."""
    table = jax.ShapeDtypeStruct((4096, 64), dtype)

    def sum_of_rows(w, num_steps):
        def add(i, total):
            return total + take(w, i + jnp.arange(2)).astype(jnp.float32)

        return jax.lax.fori_loop(0, num_steps, add, jnp.zeros((2, 64)))

    compiled = jax.jit(sum_of_rows).lower(table, 8).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 4096
