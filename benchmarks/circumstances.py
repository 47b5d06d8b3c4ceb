"""What a figure depends on: it stands beside each."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np


def describe(values: Mapping[str, Any]) -> str:
    """Returns a machine or versions in one line."""
    return ", ".join(f"{key} {value}" for key, value in values.items())


def read_bandwidth() -> float:
    """Returns the bytes a second of a product that reads 671 MB, at its best."""
    matrix, vector = np.ones([65536, 2560], np.float32), np.ones(2560, np.float32)
    best_s = float("inf")
    for _ in range(10):
        begin = time.perf_counter()
        matrix @ vector
        best_s = min(best_s, time.perf_counter() - begin)
    return matrix.nbytes / best_s
