"""Strings that end a text."""

from collections.abc import Iterable


class StopStrings:
    r"""Cuts a text that arrives in parts before the first of some strings.

    All that `push` and `finish` return, joined, is the whole text up to the earliest
    place where a stop string begins, however the text was split.

    Attributes:
      found: Whether the text has come to a stop string.

    Example:
      ```python
      stop = StopStrings(["\n\n", "User:"])
      stop.push("Yes.\n")  # ("Yes.", False): the newline may begin a stop string.
      stop.push("\nUser")  # ("", True)
      ```
    """

    def __init__(self, strings: Iterable[str]):
        self._strings = tuple(strings)
        if "" in self._strings:
            raise ValueError(
                "A stop string is empty: it would end every text before it begins."
            )
        self._held = ""
        self.found = False

    def push(self, text: str) -> tuple[str, bool]:
        """Returns the text that is safe to show, and whether a stop string was found.

        Text that may be the beginning of a stop string is held back. After a stop
        string was found, there is no more text.
        """
        if self.found:
            return "", True
        self._held += text
        start, undecided = self._first_match(), self._first_beginning()
        # Another string may yet turn out to have begun before the one that is whole.
        self.found = start < len(self._held) and start <= undecided
        end = min(start, undecided)
        safe, self._held = self._held[:end], "" if self.found else self._held[end:]
        return safe, self.found

    def finish(self) -> str:
        """Returns the text still held back, now that no more will come."""
        start = self._first_match()
        self.found = self.found or start < len(self._held)
        safe, self._held = self._held[:start], ""
        return safe

    def _first_match(self) -> int:
        """Returns where the first whole stop string begins, or the length."""
        found = (self._held.find(string) for string in self._strings)
        return min((start for start in found if start >= 0), default=len(self._held))

    def _first_beginning(self) -> int:
        """Returns where a stop string may have begun that is not whole yet."""
        longest = max(map(len, self._strings), default=0)
        for start in range(max(0, len(self._held) - longest + 1), len(self._held)):
            ending = self._held[start:]
            if any(
                len(ending) < len(string) and string.startswith(ending)
                for string in self._strings
            ):
                return start
        return len(self._held)
