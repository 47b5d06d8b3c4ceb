"""What a figure depends on: it stands beside each."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np


def describe(values: Mapping[str, Any]) -> str:
    """Returns a machine or versions in one line."""
    return ", ".join(f"{key} {'none' if v is None else v}" for key, v in values.items())


class Memory:
    """Measures how fast memory is read, with all threads that numpy has."""

    def __init__(self):
        self._matrix = np.ones([65536, 2560], np.float32)
        self._vector = np.ones(2560, np.float32)

    def read_bandwidth(self, tries: int) -> float:
        """Returns the bytes a second of a product that reads 671 MB, at its best."""
        best_s = float("inf")
        for _ in range(tries):
            begin = time.perf_counter()
            self._matrix @ self._vector
            best_s = min(best_s, time.perf_counter() - begin)
        # Numpy's threads stay awake for a while, in the way of what is measured next.
        time.sleep(0.1)
        return self._matrix.nbytes / best_s
