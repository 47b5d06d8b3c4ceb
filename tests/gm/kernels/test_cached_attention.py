"""Attention in C++ against the same in jnp, over rings, windows and odd sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma.gm import kernels, math
from gemma.gm.kernels import _cached_attention

# B, L, N, K, S, H
SIZES = {
    "one token, one head": (1, 1, 4, 1, 40, 256),
    "one token, odd width": (2, 1, 3, 3, 9, 10),
    "few queries": (2, 5, 2, 1, 33, 16),
    "many queries": (1, 40, 4, 2, 200, 48),
    "more queries than lanes": (2, 70, 2, 2, 90, 20),
    "wide ring": (1, 3, 8, 2, 700, 128),
}


def make(sizes, *, begin, count, seed=0, norms=True, dtype=jnp.float32, image=None):
    """Returns arguments: heads, cache, places, rotations, gains.

    New tokens from the first to the last number of `image` see one another.
    """
    B, L, N, K, S, H = sizes
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    begin = jnp.asarray(begin, jnp.int32)
    positions = begin[:, None] + jnp.arange(L)[None]
    rope = math.rope_table(positions, head_dim=H, theta=1e4)
    heads = draw(B, L, N, H), draw(B, L, K, H), draw(B, L, K, H)
    cache = draw(B, K, S, H).astype(dtype), draw(B, K, S, H).astype(dtype)
    gains = (draw(H), draw(H)) if norms else ()
    end = begin + jnp.asarray(count, jnp.int32)
    last_seen = positions
    if image is not None:
        first, last = image
        last_seen = last_seen.at[:, first : last + 1].set(positions[:, last : last + 1])
    return (*heads, *cache, begin, end, last_seen, *rope, *gains)


def options(window=None, softcap=None, scale=0.2):
    return {"window": window, "softcap": softcap, "scale": scale, "eps": 1e-6}


def both(arguments, **chosen):
    """Returns what the C++ and what the reference make of the same arguments."""
    found = jax.jit(functools.partial(_cached_attention._call, **chosen))(*arguments)
    reference = functools.partial(_cached_attention._reference, **chosen)
    return found, jax.jit(reference)(*arguments)


def assert_same(found, expected, count, *, atol=3e-5):
    for row, num in enumerate(count):
        np.testing.assert_allclose(
            found.out[row, :num], expected.out[row, :num], rtol=1e-4, atol=atol
        )
    # The last bits of a new key may fall to another side when it is rounded to float16.
    rtol = 1e-3 if found.k.dtype == jnp.float16 else 1e-5
    np.testing.assert_allclose(found.k, expected.k, rtol=rtol, atol=1e-5)
    np.testing.assert_array_equal(found.v, expected.v)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("window", [None, 1, 7])
def test_attention_equals_the_reference(name, window, instruction_set):
    """Empty caches, caches in use, rings that have wrapped; padding at the end."""
    del instruction_set
    B, L, _, _, S, _ = sizes = SIZES[name]
    for fill in (0, S // 2, S - L, 3 * S + 2):
        # Global layers never wrap: only those with a window may.
        if window is None and fill + L > S:
            continue
        if window is not None and fill + L > S and window > S:
            continue
        begin = [max(0, fill - b) for b in range(B)]
        count = [max(1, L - 3 * b) for b in range(B)]
        arguments = make(sizes, begin=begin, count=count)
        found, expected = both(arguments, **options(window))
        assert_same(found, expected, count)


@pytest.mark.slow
@pytest.mark.parametrize("window", [None, 3, 30])
@pytest.mark.parametrize("name", [n for n, sizes in SIZES.items() if sizes[1] > 2])
def test_tokens_of_an_image_see_all_of_it(name, window, instruction_set):
    """All of the new tokens, their end, or some in the middle."""
    del instruction_set
    B, L, _, _, S, _ = sizes = SIZES[name]
    for image in ((0, L - 1), (L // 2, L - 1), (1, L - 2)):
        begin = [S // 4] * B
        arguments = make(sizes, begin=begin, count=[L] * B, image=image)
        found, expected = both(arguments, **options(window))
        assert_same(found, expected, [L] * B)
        causal, _ = both(make(sizes, begin=begin, count=[L] * B), **options(window))
        changed = np.abs(np.asarray(causal.out) - np.asarray(found.out)).max((0, 2, 3))
        in_image = np.arange(image[0], image[1])
        assert (changed[in_image] > 0).all()
        assert (np.delete(changed, in_image) == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_a_cache_of_halves_equals_the_reference(name, instruction_set):
    """New keys and values are rounded before anything looks at them, as in jnp."""
    del instruction_set
    B, L, _, _, S, _ = sizes = SIZES[name]
    for fill, window in ((0, None), (S // 2, 7), (3 * S + 2, 7)):
        if window is None and L > S:
            continue
        begin, count = [fill] * B, [max(1, L - 3 * b) for b in range(B)]
        arguments = make(sizes, begin=begin, count=count, dtype=jnp.float16)
        found, expected = both(arguments, **options(window=window))
        assert found.k.dtype == found.v.dtype == jnp.float16
        assert_same(found, expected, count, atol=2e-3)


@pytest.mark.parametrize("name", ["one token, one head", "many queries"])
def test_numbers_that_float16_cannot_hold(name, instruction_set):
    """Values become its largest, in C++ and in jnp; the smallest keep what bits it has."""
    del instruction_set
    sizes = SIZES[name]
    q, k, v, *rest = make(
        sizes, begin=[0], count=[sizes[1]], norms=False, dtype=jnp.float16
    )
    some = [1e30, -1e30, 65504, 65519, 65521, 3e-8, -3e-8, 2.9e-8, 1e-7, 6.1e-5, 2048.5]
    v = jnp.resize(jnp.asarray(some, jnp.float32), v.shape)
    found, expected = both((q, k, v, *rest), **options())
    np.testing.assert_array_equal(found.v, expected.v)
    assert np.isfinite(found.out).all()
    assert np.asarray(found.v).max() == 65504
    v = v.at[0, 0, 0, 0].set(jnp.nan)
    found, _ = both((q, k, v, *rest), **options())
    assert np.isnan(found.v[0, 0, 0, 0]), "what is wrong stays to be seen"


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16])
def test_caches_of_both_dtypes_take_the_kernel(dtype):
    q, k, v, k_cache, v_cache, begin, end, last_seen, cos, sin, *gains = make(
        (1, 1, 4, 1, 40, 32), begin=[20], count=[1], dtype=dtype
    )
    call = functools.partial(
        kernels.cached_attention,
        cache=(k_cache, v_cache),
        begin=begin,
        end=end,
        last_seen=last_seen,
        rope=math.RopeTable(cos, sin),
        norms=kernels.HeadNorms(*gains, 1e-6),
        window=None,
        scale=1.0,
        softcap=None,
    )
    assert "gemma_cached_attention" in jax.jit(call).lower(q, k, v).as_text()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16])
def test_chunked_equals_whole(dtype):
    """One by one, by threes or all at once: a query finds the same keys."""
    sizes = (1, 12, 4, 2, 40, 32)
    call = jax.jit(functools.partial(_cached_attention._call, **options(window=9)))
    q, k, v, k_cache, v_cache, *_, cos, sin, query_gain, key_gain = make(
        sizes, begin=[20], count=[12], dtype=dtype
    )

    def feed(length):
        cache, outs = (k_cache, v_cache), []
        for i in range(0, 12, length):
            part = slice(i, i + length)
            begin = jnp.asarray([20 + i], jnp.int32)
            places = 20 + jnp.arange(12)[None, part]
            found = call(
                *(x[:, part] for x in (q, k, v)),
                *cache,
                *(begin, begin + length, places),
                *(x[:, part] for x in (cos, sin)),
                *(query_gain, key_gain),
            )
            cache, _ = (found.k, found.v), outs.append(found.out)
        return jnp.concatenate(outs, axis=1), cache

    whole, cache = feed(12)
    for length in (1, 3, 4):
        found, same_cache = feed(length)
        np.testing.assert_allclose(found, whole, rtol=1e-5, atol=1e-6)
        for a, b in zip(cache, same_cache, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one token, one head", "many queries"])
def test_softcap_and_no_norms(name, instruction_set):
    del instruction_set
    sizes = SIZES[name]
    arguments = make(sizes, begin=[20], count=[sizes[1]], norms=False)
    found, expected = both(arguments, **options(softcap=5.0, scale=1.0))
    assert_same(found, expected, [sizes[1]])


def test_huge_scores_do_not_overflow(instruction_set):
    del instruction_set
    for name in ("one token, one head", "many queries"):
        sizes = SIZES[name]
        arguments = make(sizes, begin=[20], count=[sizes[1]])
        found, expected = both(arguments, **options(scale=1e4))
        # A softmax this sharp turns on the last bits of the scores.
        assert np.isfinite(found.out).all()
        assert found.out.shape == expected.out.shape


@pytest.mark.slow
def test_a_row_does_not_depend_on_the_others():
    """Bit for bit, beside rows of other lengths, some of which get no token."""
    sizes = (4, 20, 4, 2, 60, 32)
    begin, count = [0, 33, 7, 40], [20, 1, 0, 4]
    arguments = make(sizes, begin=begin, count=count)
    call = jax.jit(functools.partial(_cached_attention._call, **options(window=9)))
    together = call(*arguments)
    for row in range(4):
        alone = call(*(x[row : row + 1] for x in arguments[:10]), *arguments[10:])
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_array_equal(a[0], b[row])
    assert (together.out[2] == 0).all()
    np.testing.assert_array_equal(together.k[2], arguments[3][2])


def test_rows_without_new_tokens_and_empty_batches():
    arguments = make((1, 1, 2, 1, 8, 16), begin=[3], count=[0])
    found, _ = both(arguments, **options())
    assert (found.out == 0).all()
    empty = kernels.cached_attention(
        *(jnp.zeros([0, 1, 2, 16]), jnp.zeros([0, 1, 1, 16]), jnp.zeros([0, 1, 1, 16])),
        cache=(jnp.zeros([0, 1, 8, 16]),) * 2,
        begin=jnp.zeros([0], jnp.int32),
        end=jnp.zeros([0], jnp.int32),
        last_seen=jnp.zeros([0, 1], jnp.int32),
        rope=math.RopeTable(jnp.zeros([0, 1, 8]), jnp.zeros([0, 1, 8])),
        norms=None,
        window=None,
        scale=1.0,
        softcap=None,
    )
    assert empty.out.shape == (0, 1, 2, 16)


@pytest.mark.slow
def test_repeated_calls_give_the_same_bits():
    """Whatever thread does which part."""
    arguments = make((2, 1, 8, 2, 900, 64), begin=[870, 500], count=[1, 1])
    call = jax.jit(functools.partial(_cached_attention._call, **options()))
    first = call(*arguments)
    for _ in range(100):
        np.testing.assert_array_equal(call(*arguments).out, first.out)
