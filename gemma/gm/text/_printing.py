"""Answers on the screen as they are made."""

import sys
from collections.abc import Callable


def printer(print_stream: bool | Callable[[str], object]) -> Callable[[str], object]:
    """Returns what shows a text as it is made."""
    if callable(print_stream):
        return print_stream
    return _write if print_stream else lambda text: None


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
