"""What people pass as `rng` becomes a seed for each row."""

import random
from collections.abc import Sequence
from typing import TypeAlias

import jax
import numpy as np

from gemma.gm._numbers import check_count

# A number, several of them, or a key that `jax.random` made.
Rng: TypeAlias = int | Sequence[int] | np.ndarray | jax.Array


def row_seeds(rng: Rng | None, num_rows: int) -> list[int]:
    """Returns a seed for each row.

    Args:
      rng: As many numbers as there are rows; or one number or key for all, with which
        row i has the seed of `rng + i`; for a single row, several numbers are as good.
        None draws one. Numbers have 64 bits; -1 is 2**64 - 1, as in C.
      num_rows: Rows of the batch.

    Raises:
      TypeError: A seed is no integer.
      ValueError: There are neither as many numbers as rows nor a single one, or one has
        more than 64 bits.
    """
    if rng is None:
        rng = random.getrandbits(32)
    numbers = _numbers(rng)
    if len(numbers) == num_rows and np.ndim(rng) > 0:
        return numbers
    if len(numbers) > 1 and (num_rows == 1 or isinstance(rng, jax.Array)):
        numbers = [int(np.random.SeedSequence(numbers).generate_state(1)[0])]
    if len(numbers) != 1:
        raise ValueError(
            f"rng has {len(numbers)} numbers for {num_rows} prompts. Pass one a prompt, "
            "or one for all."
        )
    return [numbers[0] + row for row in range(num_rows)]


def _numbers(rng: Rng) -> list[int]:
    """Returns the numbers of a seed; of a key, its own."""
    if isinstance(rng, jax.Array) and jax.numpy.issubdtype(
        rng.dtype, jax.dtypes.prng_key
    ):
        rng = jax.random.key_data(rng)
    numbers = np.ravel(rng).tolist()
    return [
        check_count("rng", number, at_least=-(2**63), at_most=2**64 - 1) % 2**64
        for number in numbers
    ]
