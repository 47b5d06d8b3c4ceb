"""How results and progress look: rich for a person, plain for a program."""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress

# Tokens of a prompt that is not read within a second or so.
LONG_PROMPT = 512


def write(text: str) -> None:
    """Writes data to stdout, at once."""
    if sys.stdout is not None:  # `>&-`
        sys.stdout.write(text)
        sys.stdout.flush()


def write_json(value: Mapping[str, Any]) -> None:
    """Writes one JSON object to stdout."""
    write(json.dumps(value) + "\n")


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """Some results.

    Attributes:
      title: What they are.
      columns: Names of the columns; none above names and values.
      rows: The cells.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def write_tables(tables: Sequence[Table]) -> None:
    """Writes tables to stdout: drawn for a person, tabs between cells in a pipe."""
    if not is_watched(sys.stdout):
        write("\n".join(_plain(table) for table in tables))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for table in tables:
        console.print()
        console.print(Text(f" {table.title}", style="bold"))
        console.print(_drawn(table))


def _plain(table: Table) -> str:
    rows = [table.columns, *table.rows] if table.columns else table.rows
    lines = [table.title, *("\t".join(row) for row in rows)]
    return "".join(f"{line}\n" for line in lines)


def _drawn(table: Table) -> "RenderableType":
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(
        box=box.SIMPLE_HEAD if table.columns else None,
        show_header=bool(table.columns),
        show_edge=False,
        header_style="dim",
    )
    for index, cell in enumerate(table.rows[0]):
        grid.add_column(
            table.columns[index] if table.columns else "",
            justify="right" if table.columns and cell[0].isdigit() else "left",
            style="" if index else "dim",
            no_wrap=index == 0,
        )
    for row in table.rows:
        grid.add_row(*map(Text, row))
    return grid


def note(words: str) -> None:
    """Shows a dim line on stderr, if a person is looking."""
    if is_watched(sys.stderr):
        from rich.console import Console
        from rich.text import Text

        Console(stderr=True).print(Text(words, style="dim"))


@contextlib.contextmanager
def loading_bar(
    during: str = "Loading", after: str = "Compiling"
) -> Iterator[Callable[[int, int], None] | None]:
    """Gives a function that shows the bytes of weights; None if nobody is looking.

    Args:
      during: What is done while they come.
      after: What is done when all are there.
    """
    if not is_watched(sys.stderr):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(during, total=None)

    def show(done: int, total: int) -> None:
        # Not before: fetching or assembling a model has a bar of its own.
        bar.start()
        label = during if done < total else after
        bar.update(task, description=label, completed=done, total=total)

    try:
        yield show
    finally:
        if bar.live.is_started:
            bar.stop()


class PromptBar:
    """Shows how much of a long prompt is read; nothing if stderr is no terminal."""

    def __init__(self):
        self._bar: Progress | None = None

    def show(self, done: int, total: int) -> None:
        """Shows that so many tokens of all are read."""
        if done == total:
            self.close()
        elif total >= LONG_PROMPT and is_watched(sys.stderr):
            if self._bar is None:
                self._bar = self._start(total)
            self._bar.update(self._bar.task_ids[0], completed=done)

    def close(self) -> None:
        """Takes it off the screen."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = None

    def _start(self, total: int) -> "Progress":
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("tokens"),
        )
        bar = Progress(*columns, console=Console(stderr=True), transient=True)
        bar.add_task("Reading the prompt", total=total)
        bar.start()
        return bar


def is_watched(stream: Any) -> bool:
    """Returns whether a stream is a terminal."""
    return stream is not None and stream.isatty()
