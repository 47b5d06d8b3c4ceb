"""What people pass as `rng`."""

import jax
import numpy as np
import pytest

from gemma.gm.text import Sampling
from gemma.gm.text._draw import stack
from gemma.gm.text._seeds import row_seeds


def test_one_number_counts_on_from_row_to_row():
    assert row_seeds(5, 3) == [5, 6, 7]
    assert row_seeds(np.int64(5), 2) == [5, 6]
    assert row_seeds(np.array(5), 2) == [5, 6]


def test_one_number_a_row():
    assert row_seeds([7, 1, 7], 3) == [7, 1, 7]
    assert row_seeds(np.array([7, 1]), 2) == [7, 1]
    assert row_seeds([9], 1) == [9]


def test_without_a_number_each_call_draws_another():
    assert len({tuple(row_seeds(None, 2)) for _ in range(8)}) > 1


def test_several_numbers_make_one_seed_for_a_single_row():
    assert len(row_seeds([1, 2, 3], 1)) == 1
    assert row_seeds([1, 2, 3], 1) == row_seeds([1, 2, 3], 1)
    assert row_seeds([1, 2, 3], 1) != row_seeds([1, 2, 4], 1)


@pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey])
@pytest.mark.parametrize("num_rows", [1, 3])
def test_keys_of_jax_are_seeds(make, num_rows):
    seeds = row_seeds(make(0), num_rows)
    assert len(set(seeds)) == num_rows
    assert seeds == row_seeds(make(0), num_rows)
    assert seeds != row_seeds(make(1), num_rows)


def test_neither_one_nor_one_a_row_is_refused():
    with pytest.raises(ValueError, match="rng has 2 numbers for 3 prompts"):
        row_seeds([1, 2], 3)


@pytest.mark.parametrize("rng", [1.5, "1", [0.5]])
def test_what_is_no_whole_number_is_refused(rng):
    with pytest.raises(TypeError, match="must be an integer"):
        row_seeds(rng, 1)


@pytest.mark.parametrize("seed", [2**64, 2**80, -(2**63) - 1, [1, 2**64]])
def test_seeds_have_at_most_64_bits(seed):
    with pytest.raises(ValueError, match=r"rng is -?\d+; it must be"):
        row_seeds(seed, 2)


def test_all_64_bits_of_a_seed_matter():
    seeds = [0, 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1]
    samplings = [Sampling()] * len(seeds)
    assert len(set(stack(samplings, seeds).seed.tolist())) == len(seeds)
    assert stack(samplings[:2], [5, 2**32 - 1]).seed.tolist() == [5, 2**32 - 1]
    assert row_seeds(-1, 1) == [2**64 - 1]
