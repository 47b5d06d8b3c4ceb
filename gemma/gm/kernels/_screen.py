"""Outlines of weights as JAX arrays, for `shortlist`.

Axes: T tiles of 16 rows, G groups of 32 columns.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, UInt8

from gemma.gm.kernels._library import available
from gemma.gm.kernels._outline import Outline, make_outline
from gemma.gm.kernels._packing import Packed
from gemma.gm.kernels._quantized_matmul import PackedWeight


class Screen(NamedTuple):
    """An `Outline` that programs can look at."""

    values: UInt8[Array, "T G 256"]
    scales: UInt8[Array, "T G 32"]


def screens_are_used() -> bool:
    """Returns whether there are kernels that look at screens: on a CPU."""
    return available() and jax.default_backend() == "cpu"


def make_screen(weight: PackedWeight, outline: Outline | None = None) -> Screen | None:
    """Returns the screen of a weight; None where there are no kernels to use it.

    Args:
      weight: The weight.
      outline: Its outline, if there is one already.
    """
    if not screens_are_used():
        return None
    if outline is None:
        arrays = Packed(*map(np.asarray, weight.arrays))
        outline = make_outline(arrays, weight.kind)
    return Screen(*map(jax.device_put, outline))
