"""An array to write, made when its turn comes: memory holds one at a time."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class LazyArray(NamedTuple):
    """An array to write.

    Attributes:
      shape: Its shape.
      dtype: Its dtype.
      read: Returns it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]

    @property
    def nbytes(self) -> int:
        """Its bytes."""
        return math.prod(self.shape) * self.dtype.itemsize
