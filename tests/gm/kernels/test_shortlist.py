"""The search through a screen finds what the full product has, to the last bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma.gm import kernels, math
from gemma.gm.kernels import PackedKind, ScaleKind

KIND = PackedKind(8, ScaleKind.HALF, 128)
needs_library = pytest.mark.skipif(
    not kernels.available(), reason="the kernels were not built: no C++ compiler"
)


def make_weight(num_rows: int, num_columns: int, kind=KIND, seed=0):
    rng = np.random.default_rng(seed)
    groups = -(-num_columns // 32)
    q = rng.integers(0, 1 << kind.bits, (num_rows, num_columns), np.uint8)
    if kind.scale is ScaleKind.SUPER16:
        scales = rng.integers(0, 256, (num_rows, groups, 2), np.uint8)
        supers = rng.normal(size=(num_rows, -(-groups // 8), 2)).astype(np.float16)
    else:
        scales, supers = rng.normal(size=(num_rows, groups)).astype(np.float16), None
    packed = kernels.pack(kind, q, scales, supers)
    return kernels.PackedWeight(jnp.asarray(packed), kind, num_rows, num_columns)


def make_screen(weight):
    if not kernels.available():
        shape = kernels.outline_shape(weight.num_rows, weight.num_columns)
        return jnp.zeros(shape, jnp.uint8)
    tiles = np.asarray(weight.tiles)
    return jnp.asarray(kernels.make_outline(tiles, weight.kind, weight.num_columns))


def search(x, weight, *, may_come=None, wanted=1, capacity=32, softcap=None):
    """Returns ids and outputs found, one array of each a row."""
    screen = make_screen(weight)
    if may_come is None:
        may_come = np.ones([len(x), weight.num_rows], bool)
    found = kernels.shortlist(
        x,
        weight,
        screen,
        allowed=jnp.asarray(math.pack_bits(may_come)),
        wanted=jnp.full([len(x)], wanted, jnp.int32),
        capacity=capacity,
        softcap=softcap,
    )
    keep = [np.asarray(row) >= 0 for row in found.ids]
    ids = [np.asarray(row)[k] for row, k in zip(found.ids, keep, strict=True)]
    outputs = [np.asarray(row)[k] for row, k in zip(found.outputs, keep, strict=True)]
    return ids, outputs


def assert_has_the_largest(x, weight, wanted, may_come=None, softcap=None, **options):
    full = np.asarray(kernels.quantized_matmul(x, weight)[0])
    ranks = (
        full
        if softcap is None
        else np.asarray(math.softcap(jnp.asarray(full), softcap))
    )
    if may_come is not None:
        ranks = np.where(may_come, ranks, -np.inf)
    found_ids, found = search(
        x, weight, wanted=wanted, may_come=may_come, softcap=softcap, **options
    )
    for row, (ids, outputs) in enumerate(zip(found_ids, found, strict=True)):
        best = np.argsort(-ranks[row], kind="stable")[:wanted]
        assert set(best) <= set(ids)
        assert (np.diff(ids) > 0).all()
        np.testing.assert_array_equal(outputs, full[row, ids])


def activations(rows: int, columns: int, seed=1):
    values = np.random.default_rng(seed).standard_t(3, size=(rows, columns))
    return jnp.asarray(values, jnp.float32)


@pytest.mark.parametrize("num_rows", [1, 15, 16, 37, 5000])
@pytest.mark.parametrize("wanted", [1, 8])
def test_the_largest_are_found(num_rows, wanted, instruction_set):
    del instruction_set
    weight = make_weight(num_rows, 96)
    for rows in (1, 2, 3, 8):
        assert_has_the_largest(activations(rows, 96), weight, wanted)


@needs_library
@pytest.mark.parametrize(
    "kind",
    [
        PackedKind(4, ScaleKind.HALF, 8),
        PackedKind(6, ScaleKind.SUPER16, 32),
        PackedKind(4, ScaleKind.HALF, 128, kernels.Code.NORMAL),
    ],
)
def test_every_kind_of_weight_has_a_screen(kind):
    assert_has_the_largest(activations(2, 70), make_weight(800, 70, kind), 4)


@needs_library
def test_forbidden_outputs_and_softcap_take_part():
    """Other outputs may come in each row."""
    x, weight = activations(3, 64), make_weight(700, 64)
    may_come = np.random.default_rng(3).random((3, 700)) < 0.3
    assert_has_the_largest(x, weight, 5, may_come)
    x = x / 20  # not so large that the cap makes all alike
    assert_has_the_largest(x, weight, 5, may_come, softcap=30.0)


@needs_library
@pytest.mark.parametrize("only", [0, 15, 16, 31, 32, 42, 98, 99])
def test_the_only_output_that_may_come_is_found(only):
    x, weight = activations(2, 64), make_weight(100, 64)
    may_come = np.arange(100)[None] == np.array([[only], [99 - only]])
    ids, _ = search(x, weight, may_come=may_come)
    assert only in ids[0]
    assert 99 - only in ids[1]


@needs_library
@pytest.mark.slow
def test_the_bounds_hold_for_many_random_directions():
    """Two million bounds, a billion times more than may fail."""
    weight = make_weight(4096, 160)
    screen = make_screen(weight)
    allowed = jnp.asarray(math.pack_bits(np.ones([8, 4096], bool)))
    search_once = jax.jit(
        lambda x, tiles: kernels.shortlist(
            x,
            weight._replace(tiles=tiles),
            screen,
            allowed=allowed,
            wanted=jnp.ones([8], jnp.int32),
            capacity=8,
        )
    )
    for seed in range(60):
        x = activations(8, 160, seed)
        full = np.asarray(kernels.quantized_matmul(x, weight)[0])
        found = search_once(x, weight.tiles)
        best = np.asarray(found.ids)[
            np.arange(8), np.argmax(np.asarray(found.outputs), axis=1)
        ]
        np.testing.assert_array_equal(best, full.argmax(1))


@needs_library
def test_equal_rows_come_in_the_order_of_their_ids():
    """More of them than there is room for: the first are kept."""
    q = np.full((200, 32), 130, np.uint8)
    packed = kernels.pack(KIND, q, np.ones((200, 1), np.float16))
    weight = kernels.PackedWeight(jnp.asarray(packed), KIND, 200, 32)
    ids, _ = search(jnp.ones([1, 32]), weight, capacity=4)
    assert ids[0].tolist() == [0, 1, 2, 3]


@needs_library
def test_zeros_and_activations_that_are_no_numbers():
    weight = make_weight(50, 32)
    ids, outputs = search(jnp.zeros([1, 32]), weight, capacity=4)
    assert ids[0].tolist() == [0, 1, 2, 3]
    assert (outputs[0] == 0).all()
    x = jnp.full([1, 32], jnp.nan)
    assert search(x, weight)[0][0].size <= 32  # and no crash


def test_the_reference_finds_the_same():
    outputs = jnp.asarray(np.random.default_rng(0).normal(size=(3, 200)), jnp.float32)
    may_come = np.random.default_rng(1).random((3, 200)) < 0.5
    found = kernels.largest(outputs, jnp.asarray(may_come), capacity=16)
    for row in range(3):
        ranks = np.where(may_come[row], outputs[row], -np.inf)
        best = np.sort(np.argsort(-ranks)[:16])
        np.testing.assert_array_equal(found.ids[row], best)
        np.testing.assert_array_equal(found.outputs[row], outputs[row][best])
    few = kernels.largest(outputs[:, :5], jnp.ones([3, 5], bool), capacity=8)
    assert few.ids[0].tolist() == [0, 1, 2, 3, 4, -1, -1, -1]
