"""What went wrong becomes one line for a person, and an exit code."""

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec

import typer

# What a shell reports of a program that the signal ended: 128 + SIGINT, 128 + SIGPIPE.
INTERRUPTED = 130
PIPE_CLOSED = 141

_P = ParamSpec("_P")


class CommandError(ValueError):
    """A command cannot do what it was asked.

    Attributes:
      hint: What to do about it; the message itself says what happened.
    """

    def __init__(self, message: str, hint: str):
        super().__init__(message)
        self.hint = hint


def explained(command: Callable[_P, None]) -> Callable[_P, None]:
    """Returns the command with its errors on stderr, one line each, and an exit code."""

    @functools.wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (typer.Exit, typer.BadParameter):
            raise
        except KeyboardInterrupt:
            say("")  # behind the ^C that the terminal shows
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise typer.Exit(PIPE_CLOSED) from None
        except Exception as error:
            report(error)
            raise typer.Exit(1) from None

    return run


def say(words: str) -> None:
    """Writes a line to stderr, which is where words go."""
    typer.echo(words, err=True)


def report(error: Exception) -> None:
    """Says what happened and what to do about it."""
    if is_debugging():
        traceback.print_exception(error, file=sys.stderr)
    message, hint = _explain(error)
    say(f"error: {_on_one_line(message)}")
    if hint:
        say(f"hint: {_on_one_line(hint)}")


def is_debugging() -> bool:
    """Returns whether the user wants to see tracebacks and libraries' messages."""
    return os.environ.get("GEMMA_DEBUG", "0") not in ("", "0")


def _explain(error: Exception) -> tuple[str, str]:
    """Returns a message, and a hint or ""."""
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}", ""
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return (
            "There is not enough memory.",
            "Try a shorter --cache-length, --weights int8 or a smaller model; "
            "`gemma describe` says what each needs.",
        )
    if isinstance(error, ValueError | OSError | ImportError):
        return str(error), getattr(error, "hint", "")
    return (
        f"This is a bug in gemma-jax: {type(error).__name__}: {error}",
        "Set GEMMA_DEBUG=1 to see the traceback, and please report it.",
    )


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
