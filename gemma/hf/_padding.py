"""Rows of ids filled up to one length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

Side: TypeAlias = Literal["left", "right"]
Rows: TypeAlias = Mapping[str, Sequence[Any]]

# Entries with a number a token. What pads others, such as labels, is up to the data
# collator that adds them; there may be one label a row.
_OF_TOKENS = ("input_ids", "attention_mask", "token_type_ids", "special_tokens_mask")
_PADDINGS = (False, True, None, "longest", "max_length", "do_not_pad")


@dataclass(frozen=True, slots=True)
class Padding:
    """How rows are filled up, as transformers' arguments say.

    Attributes:
      padding: True or "longest", "max_length", or False for not at all.
      max_length: The length of "max_length".
      multiple: The length becomes a multiple of it.
      side: Where padding goes.
    """

    padding: bool | str | None
    max_length: int | None
    multiple: int | None
    side: str

    def __post_init__(self) -> None:
        if self.side not in ("left", "right"):
            raise ValueError(
                f"padding_side is {self.side!r}; it must be 'left' or 'right'."
            )
        if self.padding not in _PADDINGS:
            raise ValueError(
                f"padding is {self.padding!r}; it must be True, False, 'longest' or "
                "'max_length'."
            )
        if self.padding == "max_length" and self.max_length is None:
            raise ValueError("padding='max_length' needs a max_length.")

    def apply(self, rows: Rows, *, pad_id: int) -> dict[str, list[Any]]:
        """Returns rows filled up, and "attention_mask": which tokens are real.

        Args:
          rows: "input_ids", and what goes with them. Without an "attention_mask" all
            tokens are real. Labels and other names that tokenizers do not return stay
            as they are.
          pad_id: The token of padding.
        """
        lengths = [len(row) for row in rows["input_ids"]]
        length = self._length(lengths)
        fills: dict[str, Any] = {
            "input_ids": pad_id,
            "special_tokens_mask": 1,
            "offset_mapping": (0, 0),
        }
        all_real = [[1] * n for n in lengths]
        full: Rows = {**rows, "attention_mask": rows.get("attention_mask", all_real)}

        def filled(name: str, row: Sequence[Any]) -> list[Any]:
            added = [fills.get(name, 0)] * max(length - len(row), 0)
            return [*added, *row] if self.side == "left" else [*row, *added]

        return {
            name: [filled(name, row) for row in entries]
            if name in (*_OF_TOKENS, "offset_mapping")
            else list(entries)
            for name, entries in full.items()
        }

    def _length(self, lengths: Sequence[int]) -> int:
        if self.padding in (False, None, "do_not_pad"):
            return 0
        length = max(lengths, default=0)
        if self.padding == "max_length":
            assert self.max_length is not None
            length = self.max_length
        step = self.multiple or 1
        return -(-length // step) * step


def as_rows(
    encoded: Mapping[str, Any] | Sequence[Mapping[str, Any]],
) -> tuple[Rows, bool]:
    """Returns rows of numbers by name, and whether they are one that stood by itself.

    Args:
      encoded: What a tokenizer returns for a text or for several, or a list of those.

    Raises:
      ValueError: There is nothing to fill up, or it has no "input_ids".
    """
    if not isinstance(encoded, Mapping):
        if not encoded:
            raise ValueError("There are no rows to pad: the list is empty.")
        encoded = {name: [one[name] for one in encoded] for name in encoded[0]}
    if "input_ids" not in encoded:
        raise ValueError(
            "What is padded needs 'input_ids'; it has "
            f"{', '.join(map(repr, encoded)) or 'nothing'}."
        )
    ids = encoded["input_ids"]
    is_single = len(ids) > 0 and not are_rows(ids)
    rows = {n: [values] if is_single else values for n, values in encoded.items()}
    numbers = {
        name: [list(map(int, row)) for row in entries]
        if name in _OF_TOKENS
        else entries
        for name, entries in rows.items()
    }
    return numbers, is_single


def are_rows(ids: Any) -> bool:
    """Returns whether ids are several rows, of perhaps different lengths."""
    if isinstance(ids, int) or getattr(ids, "ndim", 1) == 0:
        return False
    return len(ids) > 0 and np.ndim(ids[0]) > 0
