"""Streams that nothing can be drawn on: pipes, files, and terminals without a cursor."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO

from gemma.cli.errors import say
from gemma.cli.options import decode_text
from gemma.cli.terminal import write


class PlainTerminal:
    """Talks to a person in lines of text: what the model says to stdout, the rest not."""

    def __init__(self):
        self._lines = _lines(sys.stdin.buffer)

    def read(self, status: str) -> str:
        """Returns what is typed; a line that ends in a backslash goes on in the next.

        Raises:
          KeyboardInterrupt: Ctrl-C.
          EOFError: Ctrl-D.
        """
        del status
        text = self._read_line("> ")
        while text.endswith("\\"):
            text = f"{text[:-1]}\n{self._read_line('  ')}"
        return text

    def say(self, words: str) -> None:
        """Shows a remark."""
        say(words)

    def answer(self) -> AbstractContextManager[Callable[[str], None]]:
        """Gives a function that shows the texts of an answer."""
        return plain_answer()

    def _read_line(self, prompt: str) -> str:
        if sys.stderr is not None:
            sys.stderr.write(prompt)
            sys.stderr.flush()
        try:
            return next(self._lines)
        except StopIteration:
            say("")  # behind the prompt
            raise EOFError from None


@contextlib.contextmanager
def plain_answer() -> Iterator[Callable[[str], None]]:
    """Gives a function that writes texts to stdout; ends the last line."""
    try:
        yield write
    finally:
        write("\n")


def piped_messages() -> Iterator[str]:
    """Yields the lines of stdin that say something, as soon as they come.

    Nothing in them is a command: they may be data that strangers wrote.
    """
    return (line for line in _lines(sys.stdin.buffer) if line.strip())


def _lines(stream: BinaryIO) -> Iterator[str]:
    # Not `for line in stream` alone: an error in one line must not end the others.
    return map(_line, iter(stream.readline, b""))


def _line(data: bytes) -> str:
    return decode_text(data).removesuffix("\n").removesuffix("\r")
