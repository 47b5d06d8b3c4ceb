"""Many short texts in one buffer.

A vocabulary of 262,144 pieces takes 40 MB and a tenth of a second as Python strings, and
little of it is ever looked at.
"""

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import overload

import numpy as np

from gemma.gm.kernels import copy_strings


class Strings(Sequence[str]):
    """Texts that become Python strings when they are asked for; never changes.

    What is not UTF-8 is read as "\ufffd".
    """

    def __init__(self, data: bytes, begins: np.ndarray, ends: np.ndarray):
        """Makes texts of parts of a buffer: text i is UTF-8 in `begins[i]:ends[i]`."""
        self._data, self._begins, self._ends = data, begins, ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Strings":
        """Returns the same texts in a buffer."""
        encoded = [text.encode() for text in texts]
        ends = np.cumsum(list(map(len, encoded)), dtype=np.int64)
        begins = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
        return cls(b"".join(encoded), begins[: len(ends)], ends)

    def __len__(self) -> int:
        return len(self._begins)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "Strings": ...
    def __getitem__(self, index: int | slice) -> "str | Strings":
        if isinstance(index, slice):
            return Strings(self._data, self._begins[index], self._ends[index])
        return self._decode(self._begins[index], self._ends[index])

    def __iter__(self) -> Iterator[str]:
        return map(self._decode, self._begins.tolist(), self._ends.tolist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Strings):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return f"<{len(self):,} strings>"

    @property
    def num_bytes(self) -> np.ndarray:
        """Bytes of each text: int64."""
        return self._ends - self._begins

    def copy_to(self, out: np.ndarray, places: np.ndarray) -> None:
        """Writes the bytes of text i into a uint8 array, from `places[i]` on."""
        data = np.frombuffer(self._data, np.uint8)
        copy_strings(data, self._begins, self._ends, out, places)

    def first_bytes(self) -> np.ndarray:
        """Returns the first byte of each text, 0 for an empty one: uint8."""
        data = np.frombuffer(self._data, np.uint8)
        first, has_one = np.zeros(len(self), np.uint8), self.num_bytes > 0
        first[has_one] = data[self._begins[has_one]]
        return first

    def replaced(self, changes: Mapping[int, str]) -> "Strings":
        """Returns these texts with others at some places."""
        if not changes:
            return self
        begins, ends = self._begins.copy(), self._ends.copy()
        places, more = list(changes), Strings.of(changes.values())
        begins[places] = more._begins + len(self._data)
        ends[places] = more._ends + len(self._data)
        return Strings(self._data + more._data, begins, ends)

    def _decode(self, begin: int, end: int) -> str:
        return self._data[begin:end].decode("utf-8", errors="replace")
