"""Where a running program and the host meet: it need not end for each token.

The program says which tokens it chose, the host which may come next. exchange.cc says how.

Axes: B batch, D model width, W words of 32 tokens.
"""

import ctypes
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from gemma.gm.kernels._library import library, pointer
from gemma.gm.kernels._on_cpu import XLA_HAS_KERNELS
from gemma.gm.typing import Params

# The key of no exchange: a program that has it goes on without the host.
ALONE = np.array(0, np.int32)
# After so long, Ctrl-C is noticed.
_TIMEOUT_MS = 50


class Reply(NamedTuple):
    """What a program hears.

    Attributes:
      allowed: Which tokens may come, a bit each: see `math.unpack_bits`.
      active: Which rows go on.
      came: Whether the host said anything: if not, the program is to end.
    """

    allowed: UInt32[Array, "B W"]
    active: Bool[Array, "B"]
    came: Bool[Array, ""]


def await_reply(
    x: Float[Array, "B D"],
    allowed: UInt32[Array, "B W"],
    active: Bool[Array, "B"],
    key: Int[Array | np.ndarray, ""],
) -> Reply:
    """Waits, in a program, for what the host says.

    Args:
      x: What the program computes before it waits.
      allowed: Which tokens may come where nobody is asked.
      active: Which rows go on, likewise.
      key: Where to wait: `Exchange.key`, or `ALONE`.
    """

    def call(*arrays: Array) -> Reply:
        outs = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (allowed, active)]
        flag = jax.ShapeDtypeStruct((), jnp.bool_)
        return Reply(*jax.ffi.ffi_call("gemma_await_reply", (*outs, flag))(*arrays))

    def reference(x: Array, allowed: Array, active: Array, key: Any) -> Reply:
        return Reply(allowed, active, jnp.bool_(True))

    arrays = x, allowed, active, key
    if not XLA_HAS_KERNELS:
        return reference(*arrays)
    return jax.lax.platform_dependent(*arrays, cpu=call, default=reference)


def hand_over(
    tokens: Int[Array, "B"], came: Bool[Array, ""], key: Int[Array | np.ndarray, ""]
) -> Int[Array, "B"]:
    """Tells the host, in a program, which tokens were chosen; returns these.

    Args:
      tokens: The tokens.
      came: Whether a reply came before they were chosen: if not, they are none.
      key: See `await_reply`.
    """

    def call(*arrays: Array) -> Array:
        out = jax.ShapeDtypeStruct(tokens.shape, tokens.dtype)
        return jax.ffi.ffi_call("gemma_hand_over", out)(*arrays)

    def reference(tokens: Array, came: Array, key: Array) -> Array:
        return tokens

    arrays = tokens, came, key
    if not XLA_HAS_KERNELS:
        return tokens
    return jax.lax.platform_dependent(*arrays, cpu=call, default=reference)


class Exchange:
    """The host's side; it changes with what is said.

    Attributes:
      key: What a program finds it by.
    """

    def __init__(self, num_rows: int):
        """Opens an exchange: see `can_exchange`."""
        found = library()
        assert found is not None
        self._library, self._num_rows = found, num_rows
        self._key = found.gemma_open_exchange()
        self.key = np.array(self._key, np.int32)

    def __enter__(self) -> "Exchange":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def say(
        self, allowed: UInt32[np.ndarray, "B W"], active: Bool[np.ndarray, "B"]
    ) -> None:
        """Lets the program choose tokens.

        Args:
          allowed: Which tokens may come, a bit each.
          active: Which rows go on.
        """
        words, rows = np.ascontiguousarray(allowed), np.ascontiguousarray(active)
        self._library.gemma_say(
            ctypes.c_int32(self._key),
            pointer(words),
            ctypes.c_int64(words.size),
            pointer(rows),
            ctypes.c_int64(rows.size),
        )

    def take(self) -> Int[np.ndarray, "B"] | None:
        """Returns the tokens that were chosen; None if none came for a while."""
        tokens = np.empty(self._num_rows, np.int32)
        came = self._library.gemma_take_tokens(
            ctypes.c_int32(self._key), ctypes.c_int64(_TIMEOUT_MS), pointer(tokens)
        )
        return tokens if came else None

    def close(self) -> None:
        """Ends the programs that wait here, and those that will."""
        self._library.gemma_close_exchange(ctypes.c_int32(self._key))


def can_exchange(params: Params) -> bool:
    """Returns whether programs with these params can meet the host while they run."""
    arrays = (x for x in jax.tree.leaves(params) if isinstance(x, jax.Array))
    devices = {device for x in arrays for device in x.devices()} or {jax.devices()[0]}
    is_async = jax.config.read("jax_cpu_enable_async_dispatch")
    return XLA_HAS_KERNELS and is_async and [d.platform for d in devices] == ["cpu"]
