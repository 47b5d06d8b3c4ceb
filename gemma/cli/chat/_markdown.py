"""Markdown that is shown while it is written.

What is finished is printed once and scrolls away like any text. Only the block that is
being written is drawn again and again, and no more of it than the terminal has room for.
"""

import threading
import time
from collections.abc import Iterable
from typing import NamedTuple, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from gemma.cli.chat._parser import split_blocks
from gemma.cli.chat._rendering import rendered
from gemma.cli.terminal import LONG_PROMPT

_FRAMES_PER_S = 12
# Drawing may take this part of the time; the rest is the model's.
_MAX_SHARE = 0.1
# All that moves the cursor or speaks to the terminal, but for tabs and line ends.
_CONTROLS = {
    code: None for code in (*range(32), *range(127, 160)) if code not in b"\t\n"
}


class _Block(NamedTuple):
    """The block that is being written."""

    number: int
    text: str


_NOTHING = _Block(0, "")


class MarkdownStream:
    """Shows an answer as its text comes; to be used in `with`.

    Another thread draws, so that the last word is seen however long the next takes. Until
    the first comes, it counts the seconds: a long prompt or an image takes many.
    """

    def __init__(self, console: Console):
        self._console = console
        self._block = _NOTHING  # replaced as a whole
        self._read = ""
        self._begin_s = time.monotonic()
        self._live = Live(
            self,
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        # Rich counts the lines to go back up before it draws: nobody may print between.
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._drawer = threading.Thread(target=self._draw_until_end, daemon=True)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        self._drawer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._drawer.join()
        self._print(self._block.text, "")
        self._live.stop()

    def read(self, done: int, total: int) -> None:
        """Takes how many tokens of the conversation are read."""
        is_long = done < total and total >= LONG_PROMPT
        self._read = f" {done:,} of {total:,} tokens" if is_long else ""

    def show(self, text: str) -> None:
        """Takes the next text of the answer."""
        number, pending = self._block
        pending += without_controls(text)
        self._block = _Block(number, pending)
        if "\n" in text:
            # A line that is not whole may yet become anything.
            end = pending.rfind("\n") + 1
            *finished, last = split_blocks(pending[:end])
            if finished:
                self._print("".join(finished), last + pending[end:])

    def _print(self, finished: str, pending: str) -> None:
        """Prints what is finished, above the block that is being written."""
        number = self._block.number
        lines = rendered(finished, self._console)
        with self._lock:
            self._block = _Block(number + bool(lines), pending)
            if lines:
                self._console.print(_Lines(lines, is_first=number == 0))

    def _draw_until_end(self) -> None:
        drawn, pause_s = (_NOTHING, 0), 1 / _FRAMES_PER_S
        while not self._ended.wait(pause_s):
            if drawn == (self._block, self._waited_s):
                continue
            start_s = time.monotonic()
            with self._lock:
                drawn = self._block, self._waited_s
                self._live.refresh()
            took_s = time.monotonic() - start_s
            pause_s = max(1 / _FRAMES_PER_S, took_s / _MAX_SHARE)

    @property
    def _waited_s(self) -> int:
        """Whole seconds without a word."""
        is_waiting = self._block == _NOTHING
        return int(time.monotonic() - self._begin_s) if is_waiting else 0

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        # Asked for each frame, and when something is printed above.
        block = self._block
        if block == _NOTHING:
            seconds = f" {self._waited_s} s" if self._waited_s else ""
            yield Text(
                f"...{self._read}{seconds}", style="dim"
            )  # the prompt is being read
            return
        lines = rendered(block.text, console)
        # Of a block that is taller than the terminal only the end can be drawn again.
        room = max(1, console.height - 2)
        yield _Lines(lines[-room:], is_first=block.number == 0)


def without_controls(text: str) -> str:
    """Returns a text that does nothing to a terminal but to be shown."""
    return text.translate(_CONTROLS)


class _Lines:
    """Rendered lines, after an empty one if others stand above."""

    def __init__(self, lines: Iterable[list[Segment]], *, is_first: bool):
        self._lines = lines if is_first else [[], *lines]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        for line in self._lines:
            yield from line
            yield Segment.line()
