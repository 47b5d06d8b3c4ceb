"""Where the strings of a GGUF array lie: a vocabulary has 262,144, one behind the other."""

import ctypes
import struct

import numpy as np

from gemma.gm.kernels._library import library, pointer

_LENGTH = struct.Struct("<Q")


def find_strings(data: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns where strings begin and end, each a length in eight bytes and its text.

    Args:
      data: Bytes: uint8 [n].
      count: How many to find, at most n / 8.

    Returns:
      Two int64 arrays. They are shorter than `count` if the bytes end too soon.
    """
    loaded = library()
    if loaded is None:
        return _reference(data, count)
    begins, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    found = loaded.gemma_find_strings(
        pointer(data),
        *map(ctypes.c_int64, (len(data), count)),
        pointer(begins),
        pointer(ends),
    )
    return begins[:found], ends[:found]


def _reference(data: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    places, place = [], 0
    while len(places) < count and place + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, place)
        begin = place + _LENGTH.size
        place = begin + length
        if place > len(data):
            break
        places.append((begin, place))
    begins, ends = np.array(places, np.int64).reshape(-1, 2).T
    return begins, ends
