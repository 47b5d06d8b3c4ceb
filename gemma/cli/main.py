"""The `gemma` command: parses, and runs the one command asked for."""

import contextlib
import gc
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from gemma import __version__
from gemma._shared_name import is_overwritten, other_package
from gemma.cli.bench import bench
from gemma.cli.chat import chat
from gemma.cli.convert import convert
from gemma.cli.describe import describe
from gemma.cli.errors import CommandError, is_debugging, report, say
from gemma.cli.generate import generate
from gemma.cli.interrupt import end_soon_at_ctrl_c
from gemma.cli.quantize import quantize
from gemma.cli.tokens import tokens

# Older typers have it from click, newer ones carry it inside.
_UsageError = typer.BadParameter.__mro__[1]

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)
for command in (generate, chat, tokens, describe, convert, quantize, bench):
    app.command()(command)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"gemma {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Google's Gemma open models in JAX."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(args: Sequence[str]) -> int:
    """Runs one command line; returns its exit code."""
    if (found := other_package()) is not None:
        say(f"{'error' if is_overwritten() else 'warning'}: {found}")
        if is_overwritten():
            return 1
    try:
        return app(list(args), prog_name="gemma", standalone_mode=False) or 0
    except Exception as error:
        if not isinstance(error, _UsageError):
            raise
        context = getattr(error, "ctx", None)
        name = context.command_path if context else "gemma"
        message = getattr(error, "format_message", error.__str__)()
        report(CommandError(message, hint=f"{name} --help"))
        return 2


def main() -> NoReturn:
    """The console entry."""
    end_soon_at_ctrl_c()
    _hurry()
    if not is_debugging():
        _silence_libraries()
    _leave(run(sys.argv[1:]))


def _hurry() -> None:
    """Keeps libraries from work that nobody asked for; it delays the first token."""
    # Imports make half a million objects and no garbage: to look for it each 700 of them
    # takes a tenth of a second.
    gc.set_threshold(50_000)
    # NumPy multiplies no matrices here, but its threads would wait for some, awake.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _silence_libraries() -> None:
    """Keeps what users can do nothing about off stderr; what they have set stays."""
    # XLA: each program from the compilation cache may name features of the processor.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # JAX: there is a GPU or TPU for which no plugin is installed.
    os.environ.setdefault("JAX_LOGGING_LEVEL", "ERROR")
    if not sys.stderr or not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        # Ours are said to the user, in one line.
        warnings.filterwarnings("once", message="gemma-jax")
        warnings.showwarning = _say_warning


def _say_warning(message: Warning | str, *_: object, **__: object) -> None:
    say(f"warning: {message}")


def _leave(code: int) -> NoReturn:
    """Ends the process now.

    Python's own way out waits for a compilation in another thread, and complains of
    pipes that are closed.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.flush()
    os._exit(code)
