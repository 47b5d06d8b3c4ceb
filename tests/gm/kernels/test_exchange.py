"""A program that runs and the host meet: what each hears, and that neither waits in vain."""

import functools
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma.gm import kernels

ROWS, WORDS, STEPS = 3, 5, 40
MAY_COME = np.full([ROWS, WORDS], 7, np.uint32)
ALL = np.ones(ROWS, bool)

needs_kernels = pytest.mark.skipif(
    not kernels.available(), reason="the kernels were not built: no C++ compiler"
)


@functools.partial(jax.jit, static_argnames=("rows", "width"))
def talk(key, rows: int = ROWS, width: int = 64):
    """Hands over, at each step, the sums of the words that it hears."""

    def more(state):
        num_steps, _, active = state
        return (num_steps < STEPS) & jnp.any(active)

    def step(state):
        num_steps, tokens, active = state
        x = tokens[:, None].astype(jnp.float32) * jnp.ones([rows, width])
        x @= jnp.eye(width)
        reply = kernels.await_reply(x, jnp.asarray(MAY_COME[:rows]), active, key)
        tokens = reply.allowed.sum(1).astype(jnp.int32)
        tokens = kernels.hand_over(tokens, reply.came, key)
        return (
            num_steps + reply.came.astype(jnp.int32),
            tokens,
            reply.active & reply.came,
        )

    start = jnp.int32(0), jnp.zeros(rows, jnp.int32), jnp.ones(rows, bool)
    return jax.lax.while_loop(more, step, start)


def words(number: int) -> np.ndarray:
    return np.full([ROWS, WORDS], number, np.uint32)


def take(exchange) -> list[int]:
    while (tokens := exchange.take()) is None:
        pass
    return tokens.tolist()


def test_alone_it_hears_what_it_had():
    num_steps, tokens, _ = talk(kernels.ALONE)
    assert num_steps == STEPS
    np.testing.assert_array_equal(tokens, [7 * WORDS] * ROWS)


@needs_kernels
def test_each_hears_the_other_step_by_step():
    assert kernels.can_exchange({"w": jnp.ones(2)})
    with kernels.Exchange(ROWS) as exchange:
        exchange.say(words(0), ALL)
        found = talk(exchange.key)
        assert take(exchange) == [0] * ROWS
        for step in range(1, 10):
            exchange.say(words(step), ALL)
            assert take(exchange) == [step * WORDS] * ROWS
        exchange.say(words(11), np.zeros(ROWS, bool))  # no row goes on
        assert take(exchange) == [11 * WORDS] * ROWS
        num_steps, _, active = found
    assert num_steps == 11
    assert not np.any(active)


@needs_kernels
@pytest.mark.parametrize("width", [1, 64], ids=["within the call", "beside it"])
def test_a_program_that_hears_nothing_ends(width):
    """JAX runs small programs within the call."""
    with kernels.Exchange(ROWS) as exchange:
        exchange.say(words(1), ALL)
        num_steps, _, _ = talk(exchange.key, width=width)
        assert num_steps == 1
        assert take(exchange) == [WORDS] * ROWS
        assert exchange.take() is None
        # What is said later, the next program hears.
        exchange.say(words(2), ALL)
        assert talk(exchange.key, width=width)[0] == 1
        assert take(exchange) == [2 * WORDS] * ROWS


@needs_kernels
def test_closing_ends_a_program():
    exchange = kernels.Exchange(ROWS)
    exchange.say(words(1), ALL)
    found = talk(exchange.key)
    take(exchange)
    exchange.close()
    assert found[0] == 1
    assert talk(exchange.key)[0] == 0
    exchange.say(words(1), ALL)  # nobody is there
    assert exchange.take() is None
    exchange.close()


@needs_kernels
def test_a_reply_for_other_rows_is_an_error():
    with kernels.Exchange(2) as exchange:
        exchange.say(words(1), ALL)
        with pytest.raises(Exception, match="a reply for other rows"):
            jax.block_until_ready(talk(exchange.key, rows=2))


@needs_kernels
@pytest.mark.slow
def test_exchanges_do_not_mix():
    def run(number: int) -> None:
        with kernels.Exchange(ROWS) as exchange:
            made, left = None, 0
            for step in range(100):
                exchange.say(words(number + step), ALL)
                while (tokens := exchange.take() if left else None) is None:
                    if (
                        left == 0 or made[0].is_ready()
                    ):  # its threads may have been late
                        made, left = talk(exchange.key), STEPS
                left -= 1
                found[number].append(
                    tokens.tolist() == [(number + step) * WORDS] * ROWS
                )

    found: dict[int, list[bool]] = {number: [] for number in range(0, 4000, 500)}
    threads = [threading.Thread(target=run, args=(number,)) for number in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [True] * 100 for number in found}


def test_other_devices_are_told_before():
    devices = jax.devices()
    assert not kernels.available() or kernels.can_exchange({"w": np.ones(2)})
    if len(devices) > 1:
        spread = jax.device_put(jnp.ones(2), devices[1])
        assert not kernels.can_exchange({"w": jnp.ones(2), "v": spread})
