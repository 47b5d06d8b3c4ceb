"""How fast tokens come."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")


class Stopwatch:
    """Measures a stream while it passes; it runs from when it is made.

    Attributes:
      marks_s: When each item passed, in seconds from the start.
    """

    def __init__(self):
        self._start = time.perf_counter()
        self.marks_s: list[float] = []

    def watch(self, items: Iterable[_T]) -> Iterator[_T]:
        """Yields the items, and marks when each comes."""
        for item in items:
            self.marks_s.append(time.perf_counter() - self._start)
            yield item

    @property
    def first_s(self) -> float:
        """Seconds until the first item."""
        return self.marks_s[0]

    @property
    def total_s(self) -> float:
        """Seconds until the last item."""
        return self.marks_s[-1]

    @property
    def rate(self) -> float | None:
        """Items a second after the first; None if there was only one."""
        return self.rate_after(1)

    def rate_after(self, num_items: int) -> float | None:
        """Returns the items a second after so many; None if there were no more."""
        elapsed = self.total_s - self.marks_s[num_items - 1]
        return (len(self.marks_s) - num_items) / elapsed if elapsed > 0 else None
