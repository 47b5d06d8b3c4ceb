"""Outlines of weights as JAX arrays, for `shortlist`.

Axes: T tiles of 16 rows, G groups of 32 columns.
"""

from typing import NamedTuple

import jax
from jaxtyping import Array, UInt8

from gemma.gm.kernels._library import available
from gemma.gm.kernels._outline import Outline


class Screen(NamedTuple):
    """An `Outline` that programs can look at."""

    values: UInt8[Array, "T G 256"]
    scales: UInt8[Array, "T G 32"]


def screens_are_used() -> bool:
    """Returns whether there are kernels that look at screens: on a CPU."""
    return available() and jax.default_backend() == "cpu"


def make_screen(outline: Outline) -> Screen:
    """Returns an outline on the device; on CPU it is not copied."""
    return Screen(*map(jax.device_put, outline))
