"""Blocks of code in Markdown, as models write them."""

import re
from collections.abc import Iterator
from typing import NamedTuple

# Each part matches in one way only, so that no text takes more than one pass.
_FENCE = re.compile(
    r"""
    ^[ \t]*+ (?P<ticks>`{3,}+) [ \t]*+ (?P<label>[\w-]*+)
    (?= [^`\n]*+ (?:\n|\Z) | .*?``` [ \t]*+ (?:\n|\Z) )  # not ```this``` in a sentence
    (?P<body> (?s:.*?) )
    (?: (?<!`) (?P=ticks) `*+ [ \t]*+ $ | \Z )  # models forget the newline, or the end
    """,
    re.VERBOSE | re.MULTILINE,
)


class Fence(NamedTuple):
    """A block between backticks.

    Attributes:
        label: The word after the first backticks, such as `json`.
        body: What stands in the block.
    """

    label: str
    body: str


def fences(text: str) -> Iterator[Fence]:
    r"""Yields the blocks of a text in their order.

    Example:
        >>> list(fences("See:\n```json\n{}\n```\nDone."))
        [Fence(label='json', body='{}')]
    """
    for match in _FENCE.finditer(text):
        yield Fence(match["label"], match["body"].strip("\n"))


def fence_around(text: str) -> str:
    """Returns backticks that the text does not close."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    return "`" * max(3, longest + 1)
