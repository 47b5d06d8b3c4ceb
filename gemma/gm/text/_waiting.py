"""Waiting for what a device computes, without being deaf to Ctrl-C."""

import time

import jax

_PAUSE_S = 0.001


def wait_for(array: jax.Array) -> None:
    """Returns when an array is there; Ctrl-C ends it at once.

    `jax.block_until_ready` waits in C++, where Python hears no signal.
    """
    while not array.is_ready():  # pyright: ignore
        time.sleep(_PAUSE_S)
