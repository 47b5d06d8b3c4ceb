"""Seeds of the draws of `generate`, as `set_seed` begins them."""

import secrets
import threading

import numpy as np

_lock = threading.Lock()
_draws = np.random.default_rng(secrets.randbits(64))


def set_seed(seed: int) -> None:
    """Makes the draws of the `generate` calls that follow the same each time."""
    global _draws
    with _lock:
        _draws = np.random.default_rng(seed)


def next_seed() -> int:
    """Returns the seed of one call."""
    with _lock:
        return int(_draws.integers(2**31))
