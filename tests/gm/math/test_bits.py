"""Sets of numbers as bits."""

import jax.numpy as jnp
import numpy as np
import pytest

from gemma.gm.math import has_bit, pack_bits, unpack_bits


@pytest.mark.parametrize("num_bits", [0, 1, 31, 32, 33, 480, 1000])
def test_unpacking_undoes_packing(num_bits):
    bits = np.random.default_rng(num_bits).random((3, num_bits)) < 0.5
    words = pack_bits(bits)
    assert words.shape == (3, -(-num_bits // 32))
    np.testing.assert_array_equal(unpack_bits(jnp.asarray(words), num_bits), bits)


def test_number_i_is_a_bit_of_word_i_over_32():
    bits = np.zeros([1, 70], bool)
    bits[0, [1, 32, 69]] = True
    assert pack_bits(bits).tolist() == [[2, 1, 1 << 5]]


def test_single_bits_are_those_of_all():
    bits = np.random.default_rng(0).random((2, 100)) < 0.5
    index = np.array([[0, 31, 32, 99, -1], [5, 5, 64, 98, -1]])
    found = has_bit(jnp.asarray(pack_bits(bits)), jnp.asarray(index, jnp.int32))
    expected = np.take_along_axis(bits, np.maximum(index, 0), axis=1)
    expected[:, -1] = False
    np.testing.assert_array_equal(found, expected)
