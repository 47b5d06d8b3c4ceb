"""A terminal that can draw: a line to edit, answers as Markdown, a status below."""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import (
    CompleteEvent,
    Completer,
    Completion,
    PathCompleter,
)
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.styles import Style
from rich.console import Console
from rich.text import Text

from gemma.cli.chat._commands import COMMANDS, Command
from gemma.cli.chat._history import FileHistory
from gemma.cli.chat._markdown import MarkdownStream, without_controls
from gemma.cli.chat._plain import PlainAnswer
from gemma.cli.chat._session import AnswerView

_PROMPT = FormattedText([("bold", "> ")])
_STYLE = Style.from_dict({"bottom-toolbar": "noreverse ansibrightblack"})


class Terminal:
    """Talks to a person at a terminal."""

    def __init__(self, history: Path, param_names: Iterable[str], *, is_plain: bool):
        """Makes it.

        Args:
          history: The file that holds what was typed before.
          param_names: What /params knows.
          is_plain: Whether answers are shown as written, not as Markdown.
        """
        self._console = Console(highlight=False)
        self._is_plain = is_plain
        self._session: PromptSession[str] = PromptSession(
            history=FileHistory(history),
            completer=_CommandCompleter(param_names),
            complete_while_typing=False,
            key_bindings=_keys(),
            multiline=True,
            prompt_continuation="  ",
            enable_open_in_editor=True,
            tempfile_suffix=".md",
            style=_STYLE,
        )

    def read(self, status: str) -> str:
        """Returns what is typed, which may be several lines.

        Args:
          status: What stands below.

        Raises:
          KeyboardInterrupt: Ctrl-C, and there was nothing to clear.
          EOFError: Ctrl-D.
        """
        return self._session.prompt(_PROMPT, bottom_toolbar=f" {status}")

    def say(self, words: str) -> None:
        """Shows a remark."""
        self._console.print(Text(without_controls(words), style="dim"))

    @contextlib.contextmanager
    def answer(self) -> Iterator[AnswerView]:
        """Gives what shows an answer."""
        self._console.print()
        with _keys_unseen():
            if self._is_plain:
                with contextlib.closing(_SafeAnswer()) as answer:
                    yield answer
            else:
                with MarkdownStream(self._console) as stream:
                    yield stream
        self._console.print()


class _SafeAnswer(PlainAnswer):
    """Writes an answer that does nothing to the terminal."""

    def show(self, text: str) -> None:
        """Writes the next text of the answer."""
        super().show(without_controls(text))


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.current_line_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c")
    @keys.add("<sigint>")
    def _clear(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt)

    return keys


class _CommandCompleter(Completer):
    """Knows the commands and what may stand behind them."""

    def __init__(self, param_names: Iterable[str]):
        self._param_names = [f"{name}=" for name in param_names]
        self._commands = {command.name: command for command in COMMANDS}
        self._names = [f"{c.name} " if c.argument else c.name for c in COMMANDS]
        self._paths = PathCompleter(expanduser=True)

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """Yields what may stand where the cursor is."""
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text:
            return
        name, space, argument = text[1:].partition(" ")
        if not space:
            yield from _beginning(name, self._names)
        elif name in self._commands:
            command = self._commands[name]
            yield from self._arguments(command, argument.lstrip(), complete_event)

    def _arguments(
        self, command: Command, argument: str, event: CompleteEvent
    ) -> Iterable[Completion]:
        if command.completes == "path":
            yield from self._paths.get_completions(Document(argument), event)
        elif command.completes == "params":
            yield from _beginning(argument.split(" ")[-1], self._param_names)


def _beginning(typed: str, names: Iterable[str]) -> Iterator[Completion]:
    for name in names:
        if name.startswith(typed):
            yield Completion(name, start_position=-len(typed))


@contextlib.contextmanager
def _keys_unseen() -> Iterator[None]:
    """Keeps keys that are pressed meanwhile off the screen, and for the next prompt."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    silent = list(before)
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
