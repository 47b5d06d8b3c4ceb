"""Products with packed weights against plain numpy, for every kind and odd sizes."""

import concurrent.futures

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma.gm import kernels
from gemma.gm.ckpts._gguf_blocks import PACKED_KINDS, repack

KINDS = list(PACKED_KINDS)
HALF_OFFSETS = {"Q6_K": (208,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q4_1": (0, 2)}
HALF_OFFSETS["Q5_1"] = (0, 2)
needs_library = pytest.mark.skipif(
    not kernels.available(), reason="the kernels were not built: no C++ compiler"
)


def random_blocks(type_, num_rows: int, num_columns: int, seed: int = 0) -> np.ndarray:
    """Returns random bits that are blocks with finite scales."""
    rng = np.random.default_rng(seed)
    elements, size = gguf.GGML_QUANT_SIZES[type_]
    blocks = rng.integers(0, 256, (num_rows, num_columns // elements, size), np.uint8)
    for begin in HALF_OFFSETS.get(type_.name, (0,)):
        halves = rng.normal(size=(*blocks.shape[:2], 1)).astype(np.float16)
        blocks[..., begin : begin + 2] = halves.view(np.uint8)
    return blocks.reshape(num_rows, -1)


def rounded(x: np.ndarray) -> np.ndarray:
    """Returns activations as the kernels see them: 8 bits by groups of 32."""
    groups = x.reshape(len(x), -1, 32).astype(np.float32)
    scale = np.abs(groups).max(-1, keepdims=True) / np.float32(127)
    q = np.rint(groups / np.where(scale == 0, 1, scale))
    return (q * scale).reshape(x.shape).astype(np.float64)


def weight(packed, kind, num_rows: int, num_columns: int) -> kernels.PackedWeight:
    return kernels.PackedWeight(jnp.asarray(packed), kind, num_rows, num_columns)


def product(x, packed, kind, num_rows: int) -> np.ndarray:
    w = weight(packed, kind, num_rows, x.shape[1])
    return np.asarray(kernels.quantized_matmul(jnp.asarray(x), w)[0])


@pytest.mark.parametrize("type_", KINDS, ids=lambda t: t.name)
@pytest.mark.parametrize("num_rows", [1, 16, 37])
def test_packed_values_are_those_of_the_file(type_, num_rows):
    """Bit for bit what the gguf package makes of the same blocks."""
    blocks = random_blocks(type_, num_rows, 768)
    packed = repack(blocks, type_)
    values = kernels.dequantize(weight(packed, PACKED_KINDS[type_], num_rows, 768))
    np.testing.assert_array_equal(values, gguf.quants.dequantize(blocks, type_))


@pytest.mark.parametrize("type_", KINDS, ids=lambda t: t.name)
def test_product_equals_numpy(type_, instruction_set):
    del instruction_set
    for num_rows, num_x in [(1, 1), (15, 2), (16, 3), (17, 4), (40, 5), (33, 17)]:
        blocks = random_blocks(type_, num_rows, 512, seed=num_rows)
        x = np.random.default_rng(num_x).normal(size=(num_x, 512)).astype(np.float32)
        packed = repack(blocks, type_)
        actual = product(x, packed, PACKED_KINDS[type_], num_rows)
        w = gguf.quants.dequantize(blocks, type_).astype(np.float64)
        # Sums of 512 terms in float32: relative to the largest, not to each.
        size = np.abs(rounded(x)) @ np.abs(w).T
        assert (np.abs(actual - rounded(x) @ w.T) <= 1e-6 * size + 1e-30).all()


@needs_library
@pytest.mark.parametrize("type_", KINDS, ids=lambda t: t.name)
def test_a_row_does_not_depend_on_the_others(type_):
    """Bit for bit, for one to nine rows at once."""
    packed = repack(random_blocks(type_, 35, 512), type_)
    x = np.random.default_rng(0).normal(size=(9, 512)).astype(np.float32)
    kind = PACKED_KINDS[type_]
    alone = np.concatenate([product(x[i : i + 1], packed, kind, 35) for i in range(9)])
    for count in range(1, 10):
        together = product(x[:count], packed, kind, 35)
        np.testing.assert_array_equal(together, alone[:count])


@needs_library
def test_weights_that_share_activations_give_what_each_gives_alone():
    types = [gguf.GGMLQuantizationType[n] for n in ("Q4_0", "Q6_K", "Q8_0", "Q4_K")]
    x = np.random.default_rng(0).normal(size=(3, 512)).astype(np.float32)
    weights = [
        weight(repack(random_blocks(t, 20 + i, 512), t), PACKED_KINDS[t], 20 + i, 512)
        for i, t in enumerate(types)
    ]
    together = kernels.quantized_matmul(jnp.asarray(x), *weights)
    for w, found in zip(weights, together, strict=True):
        alone = kernels.quantized_matmul(jnp.asarray(x), w)[0]
        np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize("columns", [1, 31, 33, 70])
def test_normal_levels_and_odd_columns(columns, instruction_set):
    """Columns that do not fill a group, and values that are looked up."""
    del instruction_set
    rng = np.random.default_rng(columns)
    groups = -(-columns // 32)
    q = rng.integers(0, 16, (21, columns), np.uint8)
    scales = rng.normal(size=(21, groups)).astype(np.float16)
    kind = kernels.PackedKind(4, kernels.ScaleKind.HALF, 128, kernels.Code.NORMAL)
    w = (kernels.NORMAL_LEVELS[q].astype(np.float64) - 128) * np.repeat(
        scales, 32, axis=1
    )[:, :columns]
    packed = kernels.pack(kind, q, scales)
    values = kernels.dequantize(weight(packed, kind, 21, columns))
    np.testing.assert_array_equal(values, w.astype(np.float32))
    x = rng.normal(size=(3, columns)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (0, groups * 32 - columns)))
    expected = rounded(padded)[:, :columns] @ w.T
    np.testing.assert_allclose(
        product(x, packed, kind, 21), expected, rtol=1e-4, atol=1e-3
    )


@needs_library
def test_numbers_that_are_none_are_passed_on():
    type_ = gguf.GGMLQuantizationType.Q8_0
    packed = repack(random_blocks(type_, 16, 64), type_)
    x = np.ones((3, 64), np.float32)
    x[0, 40], x[1, 7] = np.nan, np.inf
    actual = product(x, packed, PACKED_KINDS[type_], 16)
    assert not np.isfinite(actual[:2]).any()
    assert np.isfinite(actual[2]).all()


@needs_library
def test_gradient_is_that_of_the_dequantized_product():
    type_ = gguf.GGMLQuantizationType.Q5_0
    packed = repack(random_blocks(type_, 20, 64), type_)
    w = weight(packed, PACKED_KINDS[type_], 20, 64)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 64)), jnp.float32)
    gradient = jax.jit(jax.grad(lambda x: kernels.quantized_matmul(x, w)[0].sum()))(x)
    expected = jnp.broadcast_to(kernels.dequantize(w).sum(0), x.shape)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-4)


@needs_library
def test_extreme_activations():
    """Zero rows, one huge value in a group, and values that round to nothing."""
    type_ = gguf.GGMLQuantizationType.Q8_0
    blocks = random_blocks(type_, 16, 64)
    x = np.zeros((3, 64), np.float32)
    x[1, 5] = 3e30
    x[2] = 1e-30
    actual = product(x, repack(blocks, type_), PACKED_KINDS[type_], 16)
    expected = rounded(x) @ gguf.quants.dequantize(blocks, type_).T.astype(np.float64)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-30)
    assert (actual[0] == 0).all()


@needs_library
def test_no_rows():
    type_ = gguf.GGMLQuantizationType.Q5_0
    packed = repack(random_blocks(type_, 16, 64), type_)
    out = product(np.zeros((0, 64), np.float32), packed, PACKED_KINDS[type_], 16)
    assert out.shape == (0, 16)


@needs_library
@pytest.mark.slow
def test_calls_from_several_threads_give_the_same_bits():
    type_ = gguf.GGMLQuantizationType.Q4_K
    packed = repack(random_blocks(type_, 4096, 512), type_)
    x = np.random.default_rng(0).normal(size=(2, 512)).astype(np.float32)
    kind = PACKED_KINDS[type_]
    call = jax.jit(
        lambda x, tiles: kernels.quantized_matmul(x, weight(tiles, kind, 4096, 512))
    )
    tiles = jnp.asarray(packed)
    expected = np.asarray(call(x, tiles)[0])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda _: np.asarray(call(x, tiles)[0]), range(200))
        for result in results:
            np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("type_", KINDS, ids=lambda t: t.name)
def test_rows_are_the_embeddings_of_tokens(type_):
    blocks = random_blocks(type_, 40, 256)
    rows = jnp.array([3, 0, 39, 3, 17])
    packed = repack(blocks, type_)
    values = kernels.dequantize_rows(weight(packed, PACKED_KINDS[type_], 40, 256), rows)
    np.testing.assert_array_equal(values, gguf.quants.dequantize(blocks, type_)[rows])
