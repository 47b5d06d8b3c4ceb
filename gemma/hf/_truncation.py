"""Texts and pairs of texts cut to a length, as transformers cuts them."""

from collections.abc import Sequence
from dataclasses import dataclass

_CUT = (True, "longest_first", "only_first", "only_second")
_UNCUT = (False, None, "do_not_truncate")


@dataclass(frozen=True, slots=True)
class Truncation:
    """How texts are cut, as transformers' arguments say.

    Attributes:
      strategy: True or "longest_first" to cut the longer of a pair until both are as
        long, then both; "only_first" or "only_second"; or False for not at all.
      max_length: Tokens of a row, the special ones counted.
      side: Which end of a text goes.
    """

    strategy: bool | str | None
    max_length: int | None
    side: str

    def __post_init__(self) -> None:
        if self.strategy not in (*_CUT, *_UNCUT):
            names = ", ".join(map(repr, _CUT))
            raise ValueError(
                f"truncation is {self.strategy!r}; it must be False or one of {names}."
            )
        if self.strategy in _CUT and self.max_length is None:
            raise ValueError("truncation=True needs a max_length.")

    def apply(self, parts: Sequence[list[int]], *, num_special: int) -> list[list[int]]:
        """Returns the ids of a text or of a pair, cut.

        Args:
          parts: The ids, without special ones.
          num_special: How many of these will be added.

        Raises:
          ValueError: A single one of a pair is to be cut, and is too short for that.
        """
        if self.strategy in _UNCUT:
            return list(parts)
        assert self.max_length is not None
        room = max(0, self.max_length - num_special)
        lengths = self._lengths([len(part) for part in parts], room)
        if self.side == "left":
            return [p[len(p) - n :] for p, n in zip(parts, lengths, strict=True)]
        return [p[:n] for p, n in zip(parts, lengths, strict=True)]

    def _lengths(self, lengths: list[int], room: int) -> list[int]:
        """Returns how much of each part is left."""
        if sum(lengths) <= room:
            return lengths
        if len(lengths) == 1:
            return [room]
        first, second = lengths
        if self.strategy in ("only_first", "only_second"):
            kept = second if self.strategy == "only_first" else first
            if kept >= room:
                raise ValueError(
                    f"truncation={self.strategy!r} leaves a text of {kept} tokens whole, "
                    f"and of the other nothing would be left: both may have {room}. "
                    "Pass truncation=True."
                )
            left = room - kept
            return [left, kept] if self.strategy == "only_first" else [kept, left]
        # The longer one gets what the shorter one leaves, and the odd token.
        shorter = min(first, second, room // 2)
        longer = room - shorter
        return [longer, shorter] if first > second else [shorter, longer]
