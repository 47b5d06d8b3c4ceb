"""What a Google-style docstring says of a function and of its arguments."""

import re
from itertools import pairwise
from typing import NamedTuple

_SECTIONS = {
    *("Args:", "Arguments:", "Parameters:", "Attributes:"),
    *("Returns:", "Yields:", "Raises:", "Example:", "Examples:"),
    *("Note:", "Notes:", "Warning:", "Warnings:", "References:", "Todo:"),
}
_ENTRY = re.compile(r"(?P<name>\*{0,2}\w+)\s*(?:\([^)]*\))?\s*:\s*(?P<text>.*)")
_WITH_ENTRIES = {"Args:", "Arguments:", "Parameters:", "Attributes:"}


class Documented(NamedTuple):
    """What a docstring says.

    Attributes:
        summary: All before the first section.
        entries: What its sections say of each argument or attribute, on one line.
    """

    summary: str
    entries: dict[str, str]


def read_docstring(text: str) -> Documented:
    r"""Returns what a docstring says; `text` is free of its indentation.

    Example:
        >>> read_docstring("Adds.\n\nArgs:\n    x: One\n        number.").entries
        {'x': 'One number.'}
    """
    lines = text.split("\n")
    starts = [i for i, line in enumerate(lines) if line.rstrip() in _SECTIONS]
    entries: dict[str, str] = {}
    for start, end in pairwise([*starts, len(lines)]):
        if lines[start].rstrip() in _WITH_ENTRIES:
            entries |= _read_entries(lines[start + 1 : end])
    summary = lines[: starts[0]] if starts else lines
    return Documented("\n".join(summary).strip(), entries)


def _read_entries(lines: list[str]) -> dict[str, str]:
    """Returns the entries of a section; deeper lines belong to the entry above."""
    indents = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    entries: dict[str, str] = {}
    name = ""
    for line in lines:
        entry = _ENTRY.fullmatch(line.strip())
        if entry and len(line) - len(line.lstrip()) == min(indents):
            name = entry["name"]
            entries[name] = entry["text"]
        elif name:
            entries[name] = f"{entries[name]} {line.strip()}".strip()
    return entries
