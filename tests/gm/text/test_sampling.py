"""Draws follow the exact distribution; what is cut is exactly what a sort would cut."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import assert_close

from gemma.gm.text import (
    Greedy,
    MinP,
    RandomSampling,
    Sampling,
    TopkSampling,
    TopPSampling,
)
from gemma.gm.text._draw import keep_probable, logprobs_of, next_tokens, stack

NUM_DRAWS = 20_000
SMALL, LARGE = 12, 1300  # the draw goes by blocks of 512

jit_next_tokens = jax.jit(next_tokens)
jit_keep = jax.jit(keep_probable)


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def reference_keep(probs: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Returns what stays, by sorting; tokens tied with the last kept one stay too."""
    probs = probs.astype(np.float64)
    if sampling.top_k is not None and sampling.top_k < len(probs):
        probs = np.where(probs >= np.sort(probs)[-sampling.top_k], probs, 0)
    if sampling.top_p < 1:
        best_first = np.sort(probs)[::-1]
        enough = np.cumsum(best_first) >= sampling.top_p * probs.sum()
        probs = np.where(probs >= best_first[np.argmax(enough)], probs, 0)
    return np.where(probs >= sampling.min_p * probs.max(), probs, 0)


def draw(logits: np.ndarray, sampling: Sampling, num_draws: int) -> np.ndarray:
    """Returns draws for one row of logits, each with a seed of its own."""
    rows = jnp.broadcast_to(jnp.float32(logits), (num_draws, len(logits)))
    arrays = stack([sampling], [0])
    arrays = jax.tree.map(lambda x: jnp.broadcast_to(x, (num_draws,)), arrays)
    arrays = arrays._replace(seed=jnp.arange(num_draws, dtype=jnp.uint32))
    positions = jnp.full(num_draws, 7, jnp.int32)
    return np.array(jit_next_tokens(rows, arrays, positions))


def assert_distributed(draws: np.ndarray, probs: np.ndarray) -> None:
    """Pearson's chi-square, at five standard deviations; rare tokens are pooled."""
    counts = np.bincount(draws, minlength=len(probs))
    assert not counts[probs == 0].any(), "a token was drawn that has no probability"
    expected = probs / probs.sum() * len(draws)
    is_rare = expected < 10
    pools = [*np.flatnonzero(~is_rare)[:, None], np.flatnonzero(is_rare)]
    pairs = [(counts[pool].sum(), expected[pool].sum()) for pool in pools]
    pairs = [(count, mean) for count, mean in pairs if mean >= 5]
    if len(pairs) == 1:
        return
    chi_square = sum((count - mean) ** 2 / mean for count, mean in pairs)
    freedom = len(pairs) - 1
    # Wilson and Hilferty 1931: its cube root is nearly normal.
    spread = 2 / (9 * freedom)
    z = ((chi_square / freedom) ** (1 / 3) - (1 - spread)) / spread**0.5
    assert z < 5


SAMPLINGS = [
    Sampling(temperature=1.0),
    Sampling(temperature=0.5),
    Sampling(temperature=3.0),
    Sampling(temperature=1.0, top_k=1),
    Sampling(temperature=1.0, top_k=5),
    Sampling(temperature=1.0, top_k=10**6),
    Sampling(temperature=1.0, top_p=0.8),
    Sampling(temperature=1.0, top_p=1e-6),
    Sampling(temperature=1.0, min_p=0.1),
    Sampling(temperature=1.0, min_p=1.0),
    Sampling(temperature=1.5, top_k=8, top_p=0.9),
    Sampling(temperature=1.5, top_k=8, min_p=0.2),
    Sampling(temperature=2.0, top_p=0.9, min_p=0.05),
    Sampling(temperature=2.0, top_k=9, top_p=0.95, min_p=0.05),
]


def describe(sampling: Sampling) -> str:
    s = sampling
    return f"T{s.temperature:g}-k{s.top_k}-p{s.top_p:g}-m{s.min_p:g}"


@pytest.mark.slow
@pytest.mark.parametrize("vocab_size", [SMALL, LARGE])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=describe)
def test_draws_follow_the_distribution(sampling, vocab_size):
    logits = 1.5 * np.random.default_rng(1).normal(size=vocab_size)
    logits[3] = -np.inf
    probs = softmax(logits / sampling.temperature)
    num_draws = NUM_DRAWS if vocab_size == SMALL else NUM_DRAWS // 4
    draws = draw(logits, sampling, num_draws)
    assert_distributed(draws, reference_keep(probs, sampling))


def test_the_check_of_distributions_is_sharp():
    """It would see one draw in twenty moved to another token."""
    probs = softmax(np.random.default_rng(1).normal(size=SMALL))
    draws = draw(np.log(probs), Sampling(temperature=1.0), NUM_DRAWS)
    assert_distributed(draws, probs)
    draws[: NUM_DRAWS // 20] = 0
    with pytest.raises(AssertionError):
        assert_distributed(draws, probs)


# Sums of a few multiples of 1/256 are exact in float32: no rounding at the edges. Small
# whole numbers, so that many are tied.
@pytest.mark.parametrize("vocab_size", [1, SMALL, LARGE])
def test_kept_tokens_are_those_of_a_sort(vocab_size):
    @given(
        seed=st.integers(0, 2**32 - 1),
        largest=st.sampled_from([0, 1, 3, 40]),
        top_k=st.one_of(st.none(), st.integers(1, vocab_size + 2)),
        top_p=st.integers(1, 64).map(lambda n: n / 64),
        min_p=st.integers(0, 8).map(lambda n: n / 8),
    )
    def check(seed, largest, top_k, top_p, min_p):
        sampling = Sampling(temperature=1.0, top_k=top_k, top_p=top_p, min_p=min_p)
        counts = np.random.default_rng(seed).integers(0, largest + 1, vocab_size)
        counts[seed % vocab_size] = largest + 1
        probs = np.float32(counts / 256)
        found = jit_keep(jnp.asarray(probs)[None], stack([sampling], [0]))
        np.testing.assert_array_equal(found[0], reference_keep(probs, sampling))

    check()


def test_tokens_tied_with_the_last_kept_one_stay():
    probs = jnp.array([[4, 2, 1, 2, 2, 4]], jnp.float32) / 16
    for sampling, kept in [
        (Sampling(top_k=1), [0, 5]),
        (Sampling(top_k=2), [0, 5]),
        (Sampling(top_k=3), [0, 1, 3, 4, 5]),
        (Sampling(top_p=8 / 15), [0, 5]),
        (Sampling(top_p=9 / 15), [0, 1, 3, 4, 5]),
        (Sampling(min_p=0.5), [0, 1, 3, 4, 5]),
        (Sampling(min_p=0.51), [0, 5]),
    ]:
        found = jit_keep(probs, stack([sampling], [0]))[0]
        assert np.flatnonzero(found).tolist() == kept, sampling


def test_rows_are_cut_each_in_its_own_way():
    rng = np.random.default_rng(0)
    probs = np.float32([softmax(rng.normal(size=SMALL)) for _ in SAMPLINGS])
    found = jit_keep(jnp.asarray(probs), stack(SAMPLINGS, range(len(SAMPLINGS))))
    for row, sampling in enumerate(SAMPLINGS):
        expected = reference_keep(probs[row], sampling)
        assert_close(found[row], expected, law="formula")


def test_greedy_takes_the_first_of_the_best():
    logits = jnp.array([[1.0, 3.0, 3.0], [-jnp.inf, -5.0, -7.0], [0.0, 0.0, 0.0]])
    arrays = stack([Sampling()] * 3, [0, 1, 2])
    assert jit_next_tokens(logits, arrays, jnp.arange(3)).tolist() == [1, 1, 0]


def test_greedy_rows_among_random_ones_stay_greedy():
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(64, SMALL)), jnp.float32)
    samplings = [Sampling(), Sampling(temperature=5.0, top_k=3)] * 32
    found = jit_next_tokens(logits, stack(samplings, range(64)), jnp.arange(64))
    best = np.argmax(logits, axis=1)
    np.testing.assert_array_equal(found[::2], best[::2])
    assert (np.asarray(found)[1::2] != best[1::2]).any()


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=100.0)])
def test_forbidden_tokens_never_come(sampling):
    """Not even the best, not even where it stands beside a block's edge."""
    logits = np.zeros(LARGE)
    logits[::3] = 20.0
    forbidden = np.union1d(np.arange(0, LARGE, 3), [0, 511, 512, 1023, 1024, LARGE - 1])
    logits[forbidden] = -np.inf
    draws = draw(logits, sampling, 2000)
    assert not np.isin(draws, forbidden).any()


def test_the_only_token_left_comes():
    for token in (0, 511, 512, LARGE - 1):
        logits = np.full(LARGE, -np.inf)
        logits[token] = -3.0
        draws = draw(logits, Sampling(temperature=1.0, top_p=0.5), 100)
        assert (draws == token).all()


@pytest.mark.parametrize("temperature", [1e-3, 1e-10, 1e-30, 1e-37, 1e-44, 1e-60])
def test_temperatures_near_zero_are_greedy(temperature):
    logits = 30 * np.random.default_rng(0).normal(size=SMALL)
    logits[2] = -np.inf
    draws = draw(logits, Sampling(temperature=temperature), 100)
    assert (draws == np.argmax(logits)).all()


@pytest.mark.parametrize("temperature", [1e10, 1e38, 1e300])
def test_temperatures_near_infinity_are_uniform(temperature):
    """And still draw nothing that is forbidden."""
    logits = 30 * np.random.default_rng(0).normal(size=SMALL)
    logits[2] = -np.inf
    draws = draw(logits, Sampling(temperature=temperature), NUM_DRAWS)
    assert_distributed(draws, np.float64(np.arange(SMALL) != 2))


def test_a_draw_depends_on_its_seed_and_place_alone():
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(5, SMALL)), jnp.float32)
    sampling = Sampling(temperature=2.0)
    seeds, places = [3, 1, 4, 1, 5], jnp.array([0, 9, 2, 6, 5], jnp.int32)
    together = jit_next_tokens(logits, stack([sampling] * 5, seeds), places)
    other = jit_next_tokens(
        logits[::-1], stack([sampling] * 5, seeds[::-1]), places[::-1]
    )
    np.testing.assert_array_equal(together, other[::-1])
    for row in range(5):
        alone = jit_next_tokens(
            logits[row : row + 1],
            stack([sampling], seeds[row : row + 1]),
            places[row : row + 1],
        )
        assert alone[0] == together[row]


def test_seeds_and_places_make_different_draws():
    logits = jnp.zeros((1000, SMALL))
    sampling = stack([Sampling(temperature=1.0)] * 1000, [5] * 1000)
    by_place = jit_next_tokens(logits, sampling, jnp.arange(1000, dtype=jnp.int32))
    assert_distributed(np.asarray(by_place), np.full(SMALL, 1 / SMALL))
    again = jit_next_tokens(logits, sampling, jnp.arange(1000, dtype=jnp.int32))
    np.testing.assert_array_equal(by_place, again)
    other = stack([Sampling(temperature=1.0)] * 1000, [6] * 1000)
    moved = jit_next_tokens(logits, other, jnp.arange(1000, dtype=jnp.int32))
    assert (np.asarray(moved) != by_place).mean() > 0.5


def test_any_whole_number_is_a_seed():
    seeds = stack([Sampling()] * 4, [-1, 2**32 - 1, 2**40, 0]).seed.tolist()
    assert seeds[1::2] == [2**32 - 1, 0]
    assert len(set(seeds)) == 4


def test_no_value_compiles_anew():
    step = jax.jit(lambda *args: next_tokens(*args))
    logits = jnp.zeros((2, SMALL))
    pairs = itertools.product([Sampling(), *SAMPLINGS], [0, 99])
    for sampling, seed in pairs:
        arrays = stack([sampling, Sampling()], [seed, 1])
        step(logits, arrays, jnp.full(2, seed, jnp.int32))
    assert step._cache_size() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, "temperature is -0.1; it must be"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"top_k": 0}, "top_k is 0; it must be 1 or more"),
        ({"top_p": 0.0}, r"top_p is 0.0; it must lie in \(0, 1\]"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"top_p": float("nan")}, "top_p is nan"),
        ({"min_p": -0.1}, r"min_p is -0.1; it must lie in \[0, 1\]"),
        ({"min_p": 1.1}, "min_p is 1.1"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**options)


def test_logprobs_are_those_of_a_log_softmax():
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(4, SMALL)).astype(np.float32)
    logits[:, 5] = -np.inf
    tokens = jnp.array([0, 3, 11, 4])
    found = logprobs_of(jnp.asarray(logits), tokens, num_top=3)
    with np.errstate(divide="ignore"):
        expected = np.log([softmax(row) for row in np.float64(logits)])
    assert_close(found.chosen, expected[np.arange(4), tokens], law="formula")
    best = np.argsort(-expected, axis=1)[:, :3]
    np.testing.assert_array_equal(found.top_ids, best)
    assert_close(found.top, np.take_along_axis(expected, best, axis=1), law="formula")


def test_methods_have_the_names_that_users_know():
    """Each is the `Sampling` that the distribution tests above draw from."""
    assert Greedy() == Sampling()
    assert RandomSampling(temperature=0.5) == Sampling(temperature=0.5)
    assert TopkSampling(k=5) == Sampling(temperature=1.0, top_k=5)
    assert TopPSampling(p=0.8) == Sampling(temperature=1.0, top_p=0.8)
    assert MinP(p=0.1) == Sampling(temperature=1.0, min_p=0.1)
