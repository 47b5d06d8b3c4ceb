r"""Escapes in options: a shell has no simple way to write a line end."""

import os
import re

import typer

from gemma.cli.stdin import decode_text

_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|.|$)", re.DOTALL)
_CHARACTERS = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


def unescaped(text: str) -> str:
    r"""Returns a text whose escapes, such as `\n` and `\u00e9`, are read.

    Raises:
      typer.BadParameter: There is a backslash with something else behind it.
    """
    return _ESCAPE.sub(_character, decode_text(os.fsencode(text)))


def _character(found: re.Match[str]) -> str:
    code = found[1]
    if code in _CHARACTERS:
        return _CHARACTERS[code]
    number = int(code[1:], 16) if len(code) > 1 else None
    if number is None or 0xD800 <= number < 0xE000:
        raise typer.BadParameter(
            rf"{found[0]!r} is no escape. There are \n, \t, \r, \xNN, \uNNNN and, for a "
            r"backslash, \\."
        )
    return chr(number)
