"""Finds the C++ library and hands its functions to XLA."""

import ctypes
import functools
from pathlib import Path

import jax

_PATH = Path(__file__).parent / "gemma_kernels.so"


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Loads the library once; None where it was not built."""
    try:
        library = ctypes.CDLL(str(_PATH))
    except OSError:
        return None
    library.gemma_instruction_set.restype = ctypes.c_char_p
    jax.ffi.register_ffi_target(
        "gemma_quantized_matmul",
        jax.ffi.pycapsule(library.gemma_quantized_matmul),
        platform="cpu",
    )
    return library


def available() -> bool:
    """Returns whether the kernels were built: needs a C++ compiler at installation."""
    return _library() is not None


def instruction_set() -> str | None:
    """Returns "avx512-vnni", "avx2" or "portable": what this processor runs."""
    library = _library()
    return None if library is None else library.gemma_instruction_set().decode()


def limit_instruction_set(name: str) -> None:
    """Makes products use no wider instructions than these; for tests."""
    library = _library()
    assert library is not None
    library.gemma_limit_instruction_set(["portable", "avx2", "avx512-vnni"].index(name))
