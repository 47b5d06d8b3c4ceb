"""Outlines of weights as JAX arrays, for `shortlist`."""

from typing import TypeAlias

import jax
from jaxtyping import Array, UInt8

from gemma.gm.kernels._library import available

# What `make_outline` returns, where programs can look at it.
Screen: TypeAlias = UInt8[Array, "T bytes"]


def screens_are_used() -> bool:
    """Returns whether there are kernels that look at screens: on a CPU."""
    return available() and jax.default_backend() == "cpu"
