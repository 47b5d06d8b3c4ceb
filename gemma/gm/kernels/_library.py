"""Finds the C++ library and hands its functions to XLA."""

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

# The functions that XLA may call.
_TARGETS = (
    "gemma_cached_attention",
    "gemma_float_matmul",
    "gemma_quantized_matmul",
    "gemma_rms_norm",
    "gemma_shortlist",
)

_PATH = Path(__file__).parent / "gemma_kernels.so"


@functools.cache
def library() -> ctypes.CDLL | None:
    """Loads the library once; None where it was not built."""
    try:
        loaded = ctypes.CDLL(str(_PATH))
    except OSError:
        return None
    loaded.gemma_instruction_set.restype = ctypes.c_char_p
    loaded.gemma_make_screen.restype = ctypes.c_bool
    for name in _TARGETS:
        capsule = jax.ffi.pycapsule(getattr(loaded, name))
        jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    return loaded


def available() -> bool:
    """Returns whether the kernels were built: needs a C++ compiler at installation."""
    return library() is not None


def instruction_set() -> str | None:
    """Returns "avx512-vnni", "avx2" or "portable": what this processor runs."""
    loaded = library()
    return None if loaded is None else loaded.gemma_instruction_set().decode()


def on_cpu(
    call: Callable[..., Any], reference: Callable[..., Any]
) -> Callable[..., Any]:
    """Returns a function of arrays that is `call` on a CPU and `reference` elsewhere.

    Without the library it is `reference` on a CPU too. Its derivatives are those of
    `reference`: the C++ has none.
    """
    if not available():
        return reference

    @jax.custom_jvp
    def function(*arrays):
        return jax.lax.platform_dependent(*arrays, cpu=call, default=reference)

    @function.defjvp
    def _(primals, tangents):
        return function(*primals), jax.jvp(reference, primals, tangents)[1]

    return function


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    """Returns where the numbers of an array are, for a call without XLA."""
    return ctypes.c_void_p(array.ctypes.data)


def give_back_memory() -> None:
    """Returns what was freed to the system, where the C library hoards it.

    Threads that load a model leave a hundred megabytes behind.
    """
    loaded = library()
    if loaded is not None:
        loaded.gemma_give_back_memory()


def limit_instruction_set(name: str) -> None:
    """Makes products use no wider instructions than these; for tests."""
    loaded = library()
    assert loaded is not None
    loaded.gemma_limit_instruction_set(["portable", "avx2", "avx512-vnni"].index(name))
