"""Sets of numbers as bits: one number in 32 takes the room of one float.

Axes: R rows, W words.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, UInt32


def pack_bits(bits: Bool[np.ndarray, "R n"]) -> UInt32[np.ndarray, "R W"]:
    """Returns words of 32 bits: bit `i % 32` of word `i // 32` is number i."""
    padded = np.pad(bits, ((0, 0), (0, -bits.shape[1] % 32)))
    return np.packbits(padded, axis=1, bitorder="little").view("<u4")


def unpack_bits(words: UInt32[Array, "R W"], num_bits: int) -> Bool[Array, "R n"]:
    """Returns the first bits of each row of words; undoes `pack_bits`."""
    places = jnp.arange(32, dtype=jnp.uint32)[None, None, :]
    bits = (words[:, :, None] >> places) & jnp.uint32(1)
    return bits.reshape(len(words), -1)[:, :num_bits].astype(bool)


def has_bit(words: UInt32[Array, "R W"], index: Array) -> Bool[Array, "R n"]:
    """Returns whether the bits [R, n] of each row are set; negative ones are not."""
    word = jnp.take_along_axis(words, jnp.maximum(index, 0) // 32, axis=1)
    bit = word >> (index % 32).astype(jnp.uint32) & jnp.uint32(1)
    return (index >= 0) & (bit == 1)
