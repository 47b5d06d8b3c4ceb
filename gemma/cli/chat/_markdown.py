"""Markdown that is shown while it is written.

What is finished is printed once and scrolls away like any text. Only the block that is
being written is drawn again and again, and no more of it than the terminal has room for.
"""

import itertools
import threading
import time
from collections.abc import Iterable
from typing import ClassVar, NamedTuple, Self

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich import markdown
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text

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
        lines = _rendered(finished, self._console)
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
            yield Text(f"...{seconds}", style="dim")  # the prompt is being read
            return
        lines = _rendered(block.text, console)
        # Of a block that is taller than the terminal only the end can be drawn again.
        room = max(1, console.height - 2)
        yield _Lines(lines[-room:], is_first=block.number == 0)


def without_controls(text: str) -> str:
    """Returns a text that does nothing to a terminal but to be shown."""
    return text.translate(_CONTROLS)


def split_blocks(text: str) -> list[str]:
    """Returns the blocks of a Markdown text: paragraphs, lists, code.

    All but the last stay as they are, whatever whole lines come behind.
    """
    starts = [t.map[0] for t in _parser().parse(text) if t.level == 0 and t.map]
    # Not splitlines(), which knows more line ends than Markdown does.
    lines = text.split("\n")
    bounds = [0, *starts[1:], len(lines)]
    blocks = ["\n".join(lines[a:b]) + "\n" for a, b in itertools.pairwise(bounds)]
    return [*blocks[:-1], blocks[-1].removesuffix("\n")]


def _parser() -> MarkdownIt:
    # With HTML allowed, rich would leave out what stands in angle brackets.
    parser = MarkdownIt("commonmark", {"html": False})
    return parser.enable(["strikethrough", "table"])


class _CodeBlock(markdown.CodeBlock):
    """Code in the terminal's own colours."""

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        code = str(self.text).rstrip()
        yield Syntax(
            code,
            self.lexer_name,
            theme="ansi_dark",
            word_wrap=True,
            padding=(0, 2),
            background_color="default",
        )


class _Heading(markdown.Heading):
    """A heading as the other lines: neither centred nor framed."""

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _Markdown(markdown.Markdown):
    """Markdown as models write it: line ends count, tags are text."""

    elements: ClassVar = {
        **markdown.Markdown.elements,
        "fence": _CodeBlock,
        "code_block": _CodeBlock,
        "heading_open": _Heading,
    }

    def __init__(self, text: str):
        super().__init__("")
        self.markup = text
        self.parsed = list(map(_with_line_ends, _parser().parse(text)))


def _with_line_ends(token: Token) -> Token:
    for child in token.children or ():
        if child.type == "softbreak":
            child.type = "hardbreak"
    return token


def _rendered(text: str, console: Console) -> list[list[Segment]]:
    """Returns the lines of a Markdown text, with an empty one between blocks."""
    lines = []
    for block in split_blocks(text):
        found = map(_without_padding, console.render_lines(_Markdown(block)))
        shown = _without_empty_ends(list(found))
        lines += [[], *shown] if lines and shown else shown
    return lines


def _without_padding(line: list[Segment]) -> list[Segment]:
    """Returns a line without the spaces at its end, which nobody wants to copy."""
    width = len("".join(segment.text for segment in line).rstrip())
    kept = []
    for segment in line:
        kept.append(segment._replace(text=segment.text[:width]))
        width -= len(kept[-1].text)
    return [segment for segment in kept if segment.text]


def _without_empty_ends(lines: list[list[Segment]]) -> list[list[Segment]]:
    full = [index for index, line in enumerate(lines) if line]
    return lines[full[0] : full[-1] + 1] if full else []


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
