"""Runs of strings: a vocabulary has 262,144, which Python would take one by one."""

import ctypes
import struct

import numpy as np

from gemma.gm.kernels._library import library, pointer

_LENGTH = struct.Struct("<Q")


def find_strings(data: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the strings of a GGUF array begin and end.

    Each is a length in eight bytes and its text.

    Args:
      data: Bytes: uint8 [n].
      count: How many to find, at most n / 8.

    Returns:
      Two int64 arrays. They are shorter than `count` if the bytes end too soon.
    """
    loaded = library()
    if loaded is None:
        return _find(data, count)
    begins, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    found = loaded.gemma_find_strings(
        pointer(data),
        *map(ctypes.c_int64, (len(data), count)),
        pointer(begins),
        pointer(ends),
    )
    return begins[:found], ends[:found]


def copy_strings(
    data: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    out: np.ndarray,
    places: np.ndarray,
) -> None:
    """Copies texts from one buffer to another.

    Args:
      data: Where they are: uint8 [n].
      begins: Where each begins: int64.
      ends: Where each ends.
      out: Where they are to be: uint8 [m].
      places: Where each is to begin.
    """
    lengths = ends - begins
    assert ((begins >= 0) & (lengths >= 0) & (ends <= len(data))).all()
    assert ((places >= 0) & (places + lengths <= len(out))).all()
    assert data.flags.c_contiguous
    assert out.flags.c_contiguous
    loaded = library()
    if loaded is None:
        _copy(data, begins, ends, out, places)
        return
    numbers = (np.ascontiguousarray(a, np.int64) for a in (begins, ends, places))
    begins, ends, places = numbers
    loaded.gemma_copy_strings(
        pointer(data),
        ctypes.c_int64(len(begins)),
        *map(pointer, (begins, ends, places, out)),
    )


def _find(data: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    places, place, raw = [], 0, data.tobytes()
    while len(places) < count and place + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(raw, place)
        begin = place + _LENGTH.size
        place = begin + length
        if place > len(data):
            break
        places.append((begin, place))
    begins, ends = np.array(places, np.int64).reshape(-1, 2).T
    return begins, ends


def _copy(
    data: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    out: np.ndarray,
    places: np.ndarray,
) -> None:
    for begin, end, place in zip(begins, ends, places, strict=True):
        out[place : place + end - begin] = data[begin:end]
