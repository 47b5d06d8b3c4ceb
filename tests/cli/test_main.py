import subprocess
import sys
import warnings

import pytest
import typer

from gemma import __version__
from gemma.cli.errors import explained

# Prints what was imported that takes a while.
_HELP = """
import sys
from gemma.cli.main import run
for command in ("", "generate", "chat", "tokens", "describe", "quantize", "bench"):
    assert run([*command.split(), "--help"]) == 0
heavy = {"jax", "numpy", "pydantic", "PIL"}
heavy |= {"rich.table", "sentencepiece", "prompt_toolkit"}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""


def test_help_imports_nothing_heavy(start_gemma):
    process = start_gemma(code=_HELP)
    stdout, stderr = process.communicate()
    assert b"--max-new-tokens" in stdout
    assert stderr.decode().strip() == "[]"


def test_no_command_shows_the_help(gemma):
    assert gemma() == gemma("--help")


def test_version(gemma):
    outcome = gemma("--version")
    assert (outcome.code, outcome.stdout) == (0, f"gemma {__version__}\n")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["generate", "--no-such"], "--no-such"),
        (["generate", "-n", "many"], "--max-new-tokens"),
        (["generate", "--weights", "int3", "hi"], "int3"),
        (["chatter"], "chatter"),
    ],
)
def test_usage_errors_are_two_lines_and_code_2(gemma, args, words):
    outcome = gemma(*args)
    assert (outcome.code, outcome.stdout) == (2, "")
    error, hint = outcome.stderr.splitlines()
    assert error.startswith("error: ")
    assert words in error
    assert hint.startswith("hint: gemma")
    assert hint.endswith("--help")


@pytest.mark.parametrize("command", ["generate", "chat", "tokens", "describe", "bench"])
def test_an_unknown_model_is_an_error_with_a_hint(gemma, command):
    outcome = gemma(command, "--model", "./nowhere", stdin=b"hi")
    assert (outcome.code, outcome.stdout) == (1, "")
    error, hint = outcome.stderr.splitlines()
    assert error == "error: There is no file or folder 'nowhere'."
    assert hint.startswith("hint: Check the path")


@pytest.mark.parametrize("command", ["generate", "chat", "tokens", "describe", "bench"])
@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\3\0\0\0" + b"\xff" * 64])
def test_a_damaged_gguf_is_one_line(gemma, tmp_path, command, content):
    path = tmp_path / "damaged.gguf"
    path.write_bytes(content)
    outcome = gemma(command, "--model", path, stdin=b"hi")
    assert (outcome.code, outcome.stdout) == (1, "")
    (error,) = outcome.stderr.splitlines()
    assert error.startswith(f"error: {path}")


def failing(error: BaseException):
    def command() -> None:
        raise error

    return explained(command)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ValueError("two\nlines"), 1, "error: two lines\n"),
        (
            PermissionError(13, "Permission denied", "x"),
            1,
            "error: x: Permission denied",
        ),
        (MemoryError(), 1, "error: There is not enough memory.\nhint: "),
        (RuntimeError("RESOURCE_EXHAUSTED: 9 GB"), 1, "not enough memory"),
        (KeyError("x"), 1, "error: This is a bug in gemma-jax: KeyError: 'x'\nhint: "),
        (BrokenPipeError(), 141, ""),
        (KeyboardInterrupt(), 130, "\n"),
    ],
    ids=lambda value: (
        type(value).__name__ if isinstance(value, BaseException) else None
    ),
)
def test_errors_become_lines_and_codes(capsys, error, code, words):
    with pytest.raises(typer.Exit) as caught:
        failing(error)()
    assert caught.value.exit_code == code
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert words in stderr
    assert "Traceback" not in stderr


def test_the_traceback_is_shown_on_demand(capsys, monkeypatch):
    monkeypatch.setenv("GEMMA_DEBUG", "1")
    with pytest.raises(typer.Exit):
        failing(KeyError("x"))()
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_of_the_help_may_leave(start_gemma):
    process = start_gemma("--help")
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() in (0, 1, 141)


def test_libraries_are_silenced_unless_the_user_has_spoken(start_gemma):
    show = """
import os
from gemma.cli import main
main.run = lambda args: print(os.environ["JAX_LOGGING_LEVEL"]) or 0
main.main()
"""
    environment = {"JAX_LOGGING_LEVEL": "INFO"}
    assert start_gemma(code=show, env=environment).communicate()[0] == b"INFO\n"
    assert start_gemma(code=show, env={}).communicate()[0] == b"ERROR\n"


def test_a_run_in_process_leaves_warnings_alone(gemma):
    before = warnings.filters[:]
    gemma("--version")
    assert warnings.filters == before


def test_the_console_script_exits_with_the_code():
    code = "from gemma.cli.main import main; main()"
    command = [sys.executable, "-c", code, "tokens", "-m", "./nowhere", "hi"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: ")
