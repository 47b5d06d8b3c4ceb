"""Finds the C++ library. What is here needs no JAX: files are read while that loads."""

import ctypes
import functools
from pathlib import Path

import numpy as np

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
    loaded.gemma_find_strings.restype = ctypes.c_int64
    loaded.gemma_take_tokens.restype = ctypes.c_bool
    return loaded


def available() -> bool:
    """Returns whether the kernels were built: needs a C++ compiler at installation."""
    return library() is not None


def instruction_set() -> str | None:
    """Returns "avx512-vnni", "avx2" or "portable": what this processor runs."""
    loaded = library()
    return None if loaded is None else loaded.gemma_instruction_set().decode()


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
