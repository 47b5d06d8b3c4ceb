"""The cache of one answer serves the next."""

import contextlib
from collections import deque
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gemma.gm import kernels
from gemma.gm.typing import Cache, DType


class CachePool:
    """Keeps one cache that nobody uses; threads may share it.

    A new one comes from the system page by page, in the time of twenty tokens of a
    prompt, and leaves holes in memory when it goes.
    """

    def __init__(self, dtype: DType):
        """Makes a pool for caches of a dtype."""
        # The C++ looks at filled slots only. The formula in XLA gives the others a weight
        # of zero: a NaN that an earlier answer left there would come through.
        is_cpu = kernels.available() and jax.default_backend() == "cpu"
        self._is_safe = is_cpu and dtype in (jnp.float32, jnp.float16)
        self._idle: deque[tuple[int, Cache]] = deque(maxlen=1)

    def take(self, num_rows: int, make: Callable[[], Cache]) -> Cache:
        """Returns an empty cache: the idle one, or a new one."""
        with contextlib.suppress(IndexError):  # another thread may be faster
            rows, cache = self._idle.pop()
            if rows == num_rows:
                return {**cache, "end": jax.device_put(np.zeros(num_rows, np.int32))}
        return make()

    def give(self, num_rows: int, cache: Cache) -> None:
        """Takes a cache back, which only the pool may use afterwards."""
        if self._is_safe:
            self._idle.append((num_rows, cache))
