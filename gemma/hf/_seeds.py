"""Seeds of the draws of `generate`, as `set_seed` begins them."""

import secrets
import threading

import numpy as np

from gemma.gm._numbers import check_count

_lock = threading.Lock()
_draws = np.random.default_rng(secrets.randbits(64))


def set_seed(seed: int) -> None:
    """Makes the draws of the `generate` calls that follow the same each time.

    Args:
      seed: A number of at most 64 bits.

    Raises:
      TypeError: It is no integer.
      ValueError: It is negative, or too large.
    """
    global _draws
    seed = check_count("seed", seed, at_least=0, at_most=2**64 - 1)
    with _lock:
        _draws = np.random.default_rng(seed)


def next_seed() -> int:
    """Returns the seed of one call."""
    with _lock:
        return int(_draws.integers(2**31))
