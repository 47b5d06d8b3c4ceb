"""Products with weights of plain numbers against numpy, at odd sizes."""

import concurrent.futures

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma.gm import kernels
from gemma.gm.kernels import _float_matmul

DTYPES = [jnp.bfloat16, jnp.float16, jnp.float32]
needs_library = pytest.mark.skipif(
    not kernels.available(), reason="the kernels were not built: no C++ compiler"
)
product = jax.jit(kernels.float_matmul)


def some(shape, dtype=jnp.float32, seed=0) -> jax.Array:
    values = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(values, jnp.float32).astype(dtype)


def assert_is_product(found, x, w):
    """Sums in float32: relative to the sum of magnitudes, not to each result."""
    x, w = (np.asarray(a).astype(np.float64) for a in (x, w))
    size = np.abs(x) @ np.abs(w).T
    assert found.dtype == jnp.float32
    assert (np.abs(np.asarray(found) - x @ w.T) <= 1e-6 * size + 1e-30).all()


# Rows, outputs, columns: each number of rows that blocks are made for and each rest;
# an odd number of columns also misaligns every row but the first.
SHAPES = [
    (1, 1, 1), (1, 2, 16), (1, 3, 17), (1, 17, 70), (1, 40, 640), (2, 3, 2), (2, 4, 33),
    (3, 1, 640), (3, 40, 15), (4, 7, 31), (4, 16, 48), (5, 33, 70), (5, 2, 65),
    (6, 4, 16), (6, 5, 17), (7, 5, 47), (8, 13, 70), (9, 6, 1), (11, 39, 33), (12, 9, 7),
    (13, 29, 640), (17, 31, 69),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_product_equals_numpy(dtype, instruction_set):
    del instruction_set
    for num_rows, num_outputs, num_columns in SHAPES:
        x = some((num_rows, num_columns))
        w = some((num_outputs, num_columns), dtype, seed=1)
        assert_is_product(product(x, w), x, w)


@pytest.mark.parametrize("dtype", DTYPES)
def test_several_pieces_of_work(dtype, instruction_set):
    """More weights than one thread takes at a time."""
    del instruction_set
    for num_rows, num_outputs, num_columns in [(1, 3001, 129), (19, 1003, 257)]:
        x = some((num_rows, num_columns))
        w = some((num_outputs, num_columns), dtype, seed=1)
        assert_is_product(product(x, w), x, w)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_each_number_is_widened_exactly(dtype, instruction_set):
    """All 65,536, infinities, NaN and the subnormal ones of float16 among them."""
    del instruction_set
    w = jnp.arange(65536, dtype=jnp.uint16).view(dtype)
    wide = np.asarray(w.astype(jnp.float32))
    found = product(jnp.ones([1, 1]), w[:, None])
    # XLA lets its threads take subnormal float32, as bfloat16 has them, for 0.
    smallest = np.finfo(np.float32).tiny
    np.testing.assert_allclose(found[0], wide, rtol=0, atol=smallest)
    finite = jnp.where(jnp.isfinite(w), w, jnp.zeros_like(w)).reshape(-1, 16)
    lanes = product(jnp.eye(16), finite)
    np.testing.assert_allclose(
        lanes.T, finite.astype(jnp.float32), rtol=0, atol=smallest
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinity_and_nan_stay_in_their_row(dtype, instruction_set):
    del instruction_set
    x = some((7, 37)).at[2, 36].set(jnp.inf).at[4, 0].set(jnp.nan)
    w = jnp.abs(some((5, 37), dtype, seed=1)).at[3, 36].set(-jnp.inf)
    found, rest = np.asarray(product(x, w)), [0, 1, 3, 5, 6]
    assert (found[2, [0, 1, 2, 4]] == np.inf).all()
    assert found[2, 3] == -np.inf
    assert np.isnan(found[4]).all()
    assert np.isfinite(found[rest][:, [0, 1, 2, 4]]).all()
    assert (found[rest, 3] == -np.sign(x[np.array(rest), 36]) * np.inf).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_does_not_depend_on_the_others(dtype, instruction_set):
    """Bit for bit: in blocks of any number of rows, and with what is left over."""
    del instruction_set
    x, w = some((13, 133)), some((35, 133), dtype, seed=1)
    alone = np.concatenate([product(x[i : i + 1], w) for i in range(13)])
    for count in (2, 3, 4, 5, 6, 7, 10, 13):
        np.testing.assert_array_equal(product(x[:count], w), alone[:count])


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_output_does_not_depend_on_the_others(dtype, instruction_set):
    """Bit for bit, wherever the row of the weight stands."""
    del instruction_set
    x, w = some((7, 133)), some((35, 133), dtype, seed=1)
    whole = np.asarray(product(x, w))
    for begin in range(5):
        np.testing.assert_array_equal(product(x, w[begin:]), whole[:, begin:])


@needs_library
@pytest.mark.parametrize("dtype", DTYPES)
def test_part_of_an_array(dtype):
    """What is cut from an array inside a program."""
    x, w = some((3, 70)), some((40, 70), dtype, seed=1)
    found = jax.jit(lambda x, w: kernels.float_matmul(x[:, 1:], w[5:, 1:]))(x, w)
    assert_is_product(found, x[:, 1:], w[5:, 1:])


@needs_library
@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5), (2, 3, 0)])
def test_nothing_to_do(shape):
    num_rows, num_outputs, num_columns = shape
    found = product(
        jnp.ones([num_rows, num_columns]), jnp.ones([num_outputs, num_columns])
    )
    np.testing.assert_array_equal(found, np.zeros([num_rows, num_outputs]))


@needs_library
@pytest.mark.slow
def test_calls_from_several_threads_give_the_same_bits():
    x, w = some((2, 640)), some((4096, 640), jnp.bfloat16, seed=1)
    expected = np.asarray(product(x, w))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: np.asarray(product(x, w)), range(100)):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives_are_those_of_the_formula(dtype):
    def loss(multiply, x, w):
        return jnp.sum(jnp.sin(multiply(x, w)))

    def formula(x, w):
        return x @ w.astype(jnp.float32).T

    x, w = some((3, 21)), some((5, 21), dtype, seed=1)
    for argnums in [(1,), (2,), (1, 2)]:
        found, expected = (
            jax.grad(loss, argnums)(multiply, x, w)
            for multiply in (kernels.float_matmul, formula)
        )
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == theirs.dtype
            rtol = 1e-5 if ours.dtype == jnp.float32 else jnp.finfo(ours.dtype).eps
            np.testing.assert_allclose(
                ours.astype(jnp.float32),
                theirs.astype(jnp.float32),
                rtol=float(rtol),
                atol=1e-5,
            )


@pytest.mark.parametrize("dtype", DTYPES)
def test_mapped_over_batches(dtype):
    x, w = some((4, 3, 21)), some((4, 5, 21), dtype, seed=1)
    both = jax.vmap(kernels.float_matmul)(x, w)
    one = jax.vmap(kernels.float_matmul, in_axes=(0, None))(x, w[0])
    for i in range(4):
        np.testing.assert_array_equal(both[i], kernels.float_matmul(x[i], w[i]))
        np.testing.assert_array_equal(one[i], kernels.float_matmul(x[i], w[0]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_reference_is_the_same_product(dtype, monkeypatch):
    """What runs where the kernels were not built."""
    x, w = some((3, 21)), some((5, 21), dtype, seed=1)
    monkeypatch.setattr(_float_matmul, "XLA_HAS_KERNELS", False)
    assert_is_product(jax.jit(lambda x, w: kernels.float_matmul(x, w))(x, w), x, w)


@needs_library
@pytest.mark.parametrize("dtype", [jnp.int16, jnp.float32])
def test_wrong_operands_are_refused(dtype):
    """By the library itself, which would read beyond the end of an array."""
    out = jax.ShapeDtypeStruct((2, 5), jnp.float32)
    call = jax.ffi.ffi_call("gemma_float_matmul", out)
    with pytest.raises(Exception, match=r"a weight is float32|x \[R, K\]"):
        call(jnp.ones([2, 7]), jnp.ones([5, 8], dtype)).block_until_ready()
