"""Ctrl-C is heard while a device computes."""

import signal
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma.gm.text._prefill import prefill
from gemma.gm.text._waiting import wait_for


@jax.jit
def slowly(number: jax.Array, steps: int) -> jax.Array:
    """Returns a number after some work, such as a chunk of a prompt is."""
    matrix = jnp.full((200, 200), 0.001)
    worked = jax.lax.fori_loop(0, steps, lambda _, x: jnp.tanh(x @ matrix), matrix)
    return number + (worked.sum() * 0).astype(number.dtype)


@pytest.mark.slow
def test_waiting_hears_ctrl_c_at_once():
    slow = slowly(jnp.int32(0), 4_000)
    timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    timer.start()
    begin_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        wait_for(slow)
    took_s = time.monotonic() - begin_s
    assert not slow.is_ready()
    assert took_s < 0.5
    slow.block_until_ready()


def test_a_prompt_is_read_chunk_by_chunk():
    """A chunk is not begun before the last one is done, however many there are."""
    was_ready, counts = [], []

    def feed(params, cache, tokens, mask):
        was_ready.append(cache["end"].is_ready())
        return {"end": slowly(cache["end"] + mask.sum(axis=1), 200)}

    cache = {"end": jnp.zeros(1, jnp.int32)}
    found = prefill(
        {},
        cache,
        [list(range(33))],
        feed={8: feed},
        progress=lambda done, total: counts.append((done, total)),
    )
    assert np.asarray(found["end"]).tolist() == [32]
    assert was_ready == [True] * 4
    assert counts == [(0, 32), (8, 32), (16, 32), (24, 32), (32, 32)]
