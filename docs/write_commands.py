"""Writes the options of each command into commands.md, from the commands themselves.

`python docs/write_commands.py`, when an option has changed; a test says so.
"""

import re
from pathlib import Path
from typing import Any

import typer

from gemma.cli.main import app

PAGE = Path(__file__).parent / "commands.md"
_PLACE = re.compile(r"(<!-- options of (\w+) -->\n).*?(?=<!-- end -->)", re.DOTALL)


def current_page() -> str:
    """Returns commands.md with the options that the commands have now."""
    group: Any = typer.main.get_command(app)
    return _PLACE.sub(
        lambda place: place[1] + describe_command(place[2], group.commands[place[2]]),
        PAGE.read_text(encoding="utf-8"),
    )


def command_names() -> list[str]:
    """Returns the names of all commands."""
    group: Any = typer.main.get_command(app)
    return list(group.commands)


def describe_command(name: str, command: Any) -> str:
    """Returns what a command does, how it is called, and a table of its options."""
    arguments = [param for param in command.params if not _is_option(param)]
    options = [param for param in command.params if _is_option(param)]
    words = [_argument_words(argument) for argument in arguments]
    usage = " ".join(["gemma", name, *words, "[OPTIONS]"])
    rows = [
        *((f"`{argument.metavar}`", argument) for argument in arguments),
        *((_option_words(option), option) for option in options),
    ]
    table = "".join(f"| {words} | {_meaning(param)} |\n" for words, param in rows)
    head = "| argument or option | what it is |\n|---|---|\n"
    return f"\n{command.help}\n\n```text\n{usage}\n```\n\n{head}{table}\n"


def _is_option(param: Any) -> bool:
    return param.opts[0].startswith("-")


def _argument_words(argument: Any) -> str:
    return argument.metavar if argument.required else f"[{argument.metavar}]"


def _option_words(option: Any) -> str:
    """Returns such as `--max-new-tokens N`, `-n N`."""
    value = f" {option.metavar}" if option.metavar else ""
    return ", ".join(f"`{flag}{value}`" for flag in option.opts)


def _meaning(param: Any) -> str:
    notes = [_escaped(param.help)]
    if isinstance(param.default, int | float) and not param.is_flag:
        notes.append(f"Default: {param.default}.")
    if param.required:
        notes.append("Required.")
    return " ".join(notes)


def _escaped(text: str) -> str:
    """Returns a text as a cell of a table: flags are code, and bars do not end it."""
    flagged = re.sub(r"(?<![\w-])--[a-z][a-z-]*", r"`\g<0>`", text)
    return flagged.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(current_page(), encoding="utf-8")
