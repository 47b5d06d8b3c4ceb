"""Lines of a terminal from Markdown: each letter and digit of the text is in them."""

from typing import ClassVar, Self

from markdown_it.token import Token
from rich import markdown
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from gemma.cli.chat._parser import parser, split_blocks


def rendered(text: str, console: Console) -> list[list[Segment]]:
    """Returns the lines of a Markdown text, with an empty one between blocks.

    A block of which letters or digits would be missing, such as a table that is too wide
    or has cells without a column, is shown as it was written.
    """
    lines = []
    for block in split_blocks(text):
        shown = _lines(_Markdown(block), console)
        if not _has_all(shown, block):
            shown = _lines(Text(block, overflow="fold"), console)
        lines += [[], *shown] if lines and shown else shown
    return lines


def _has_all(lines: list[list[Segment]], text: str) -> bool:
    """Returns whether the lines have the letters and digits of a text.

    They are in the same order, but for the cells of a table, whose lines stand beside
    one another.
    """
    shown = [c for line in lines for segment in line for c in segment.text]
    shown, wanted = ([c for c in chars if c.isalnum()] for chars in (shown, text))
    if shown == wanted:
        return True
    has_table = any(token.type == "table_open" for token in parser().parse(text))
    return has_table and sorted(shown) == sorted(wanted)


class _CodeBlock(markdown.CodeBlock):
    """Code in the terminal's own colours, below what it was said to be."""

    _info = ""

    @classmethod
    def create(cls, markdown: markdown.Markdown, token: Token) -> Self:
        """Returns the element of a token."""
        block = cls((token.info.split() or ["text"])[0], markdown.code_theme)
        block._info = token.info.strip()
        return block

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        if self._info:
            yield Text(self._info, style="dim", overflow="fold")
        yield Syntax(
            str(self.text).rstrip(),
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


class _ListItem(markdown.ListItem):
    """An item with the number that was written, whichever the ones before have."""

    _number = ""

    @classmethod
    def create(cls, markdown: markdown.Markdown, token: Token) -> Self:
        """Returns the element of a token."""
        item = cls()
        item._number = token.info + token.markup
        return item

    def render_number(
        self, console: Console, options: ConsoleOptions, number: int, last_number: int
    ) -> RenderResult:
        """Yields the lines of an item of a numbered list."""
        width = max(len(self._number), len(f"{last_number}.")) + 1
        room = options.update(width=max(1, options.max_width - width - 1))
        style = console.get_style("markdown.item.number", default="none")
        start = f"{self._number} ".rjust(width + 1)
        for line in console.render_lines(self.elements, room, style=self.style):
            yield Segment(start, style)
            yield from line
            yield Segment.line()
            start = " " * len(start)


class _Table(markdown.TableElement):
    """A table whose long words are broken, not cut."""

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        for part in super().__rich_console__(console, options):
            if isinstance(part, Table):
                for column in part.columns:
                    column.overflow = "fold"
            yield part


class _Markdown(markdown.Markdown):
    """Markdown as models write it: line ends count, tags are text."""

    elements: ClassVar = {
        **markdown.Markdown.elements,
        "fence": _CodeBlock,
        "code_block": _CodeBlock,
        "heading_open": _Heading,
        "list_item_open": _ListItem,
        "table_open": _Table,
    }
    inlines: ClassVar = {*markdown.Markdown.inlines, "link"}

    def __init__(self, text: str):
        super().__init__("")
        self.markup = text
        self.parsed = list(map(_with_line_ends, parser().parse(text)))


def _with_line_ends(token: Token) -> Token:
    for child in token.children or ():
        if child.type == "softbreak":
            child.type = "hardbreak"
    return token


def _lines(shown: RenderableType, console: Console) -> list[list[Segment]]:
    """Returns the lines of something, without the empty ones around it."""
    lines = list(map(_without_padding, console.render_lines(shown)))
    full = [index for index, line in enumerate(lines) if line]
    return lines[full[0] : full[-1] + 1] if full else []


def _without_padding(line: list[Segment]) -> list[Segment]:
    """Returns a line without the padding at its end, which would be copied too."""
    width = len("".join(segment.text for segment in line).rstrip())
    kept = []
    for segment in line:
        kept.append(segment._replace(text=segment.text[:width]))
        width -= len(kept[-1].text)
    return [segment for segment in kept if segment.text]
