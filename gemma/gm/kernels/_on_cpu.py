"""Hands the functions of the C++ library to XLA."""

from collections.abc import Callable
from typing import Any

import jax

from gemma.gm.kernels._library import library

# The functions that XLA may call.
_TARGETS = (
    "gemma_await_reply",
    "gemma_cached_attention",
    "gemma_float_matmul",
    "gemma_hand_over",
    "gemma_quantized_matmul",
    "gemma_rms_norm",
    "gemma_shortlist",
)


def _register() -> bool:
    """Tells XLA of the functions; returns False where there is no library."""
    loaded = library()
    if loaded is None:
        return False
    for name in _TARGETS:
        capsule = jax.ffi.pycapsule(getattr(loaded, name))
        jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    return True


# At import: programs from disk call the functions without any call of Python's.
XLA_HAS_KERNELS = _register()


def on_cpu(
    call: Callable[..., Any], reference: Callable[..., Any]
) -> Callable[..., Any]:
    """Returns a function of arrays that is `call` on a CPU and `reference` elsewhere.

    Without the library it is `reference` on a CPU too. Its derivatives are those of
    `reference`: the C++ has none.
    """
    if not XLA_HAS_KERNELS:
        return reference

    @jax.custom_jvp
    def function(*arrays):
        return jax.lax.platform_dependent(*arrays, cpu=call, default=reference)

    @function.defjvp
    def _(primals, tangents):
        return function(*primals), jax.jvp(reference, primals, tangents)[1]

    return function
