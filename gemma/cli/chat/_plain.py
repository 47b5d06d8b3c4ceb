"""Streams that nothing can be drawn on: pipes, files, and terminals without a cursor."""

import contextlib
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO

from gemma.cli.errors import say
from gemma.cli.stdin import decode_text
from gemma.cli.terminal import PromptBar, write


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

    def answer(self) -> AbstractContextManager["PlainAnswer"]:
        """Gives what shows an answer."""
        return contextlib.closing(PlainAnswer())

    def _read_line(self, prompt: str) -> str:
        if sys.stderr is not None:
            sys.stderr.write(prompt)
            sys.stderr.flush()
        try:
            return next(self._lines)
        except StopIteration:
            say("")  # behind the prompt
            raise EOFError from None


class PlainAnswer:
    """Writes an answer to stdout as it comes."""

    def __init__(self):
        self._bar = PromptBar()

    def read(self, done: int, total: int) -> None:
        """Shows on stderr how many tokens of the conversation are read."""
        self._bar.show(done, total)

    def show(self, text: str) -> None:
        """Writes the next text of the answer."""
        write(text)

    def close(self) -> None:
        """Ends the last line."""
        self._bar.close()
        write("\n")


class SilentAnswer(PlainAnswer):
    """Writes nothing: the answer is written when it is whole."""

    def show(self, text: str) -> None:
        """Leaves the next text of the answer out."""

    def close(self) -> None:
        """Leaves the screen as it was."""
        self._bar.close()


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
