"""What is piped, and what stands on the command line."""

import io
import os
import sys
import threading

import pytest

from gemma.cli import stdin
from gemma.cli.stdin import read_prompt


@pytest.fixture
def pipe(monkeypatch):
    """The writing end of a pipe that is stdin."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as stream, os.fdopen(writer, "wb", buffering=0) as end:
        monkeypatch.setattr(sys, "stdin", stream)
        yield end


@pytest.mark.parametrize(
    ("piped", "prompt"),
    [
        (b"the notes\n", "Summarise:\n\nthe notes"),
        (b"two\n\nlines", "Summarise:\n\ntwo\n\nlines"),
        (b"", "Summarise:"),
        (b" \n", "Summarise:"),
    ],
)
def test_piped_text_follows_what_was_typed(pipe, piped, prompt):
    pipe.write(piped)
    pipe.close()
    assert read_prompt("Summarise:") == prompt


def test_a_slow_pipe_is_read_to_its_end(pipe):
    pipe.write(b"first ")

    def go_on() -> None:
        pipe.write(b"second")
        pipe.close()

    threading.Timer(0.2, go_on).start()
    assert read_prompt("Summarise:") == "Summarise:\n\nfirst second"


@pytest.mark.slow
def test_an_open_pipe_without_text_is_left_out_after_a_while(pipe, monkeypatch, capsys):
    monkeypatch.setattr(stdin, "_PATIENCE_S", 1.0)
    assert read_prompt("Summarise:") == "Summarise:"
    assert "stdin gave nothing for 1 s and is left out" in capsys.readouterr().err


def test_a_dash_is_stdin_alone(pipe):
    pipe.write(b"the notes")
    pipe.close()
    assert read_prompt("-") == "the notes"


def test_an_empty_file_changes_nothing(monkeypatch):
    with open(os.devnull, encoding="utf-8") as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert read_prompt("text") == "text"
    monkeypatch.setattr(sys, "stdin", None)
    assert read_prompt("text") == "text"


def test_piped_bytes_that_are_no_text_are_an_error(pipe):
    pipe.write(b"\xff\xfe")
    pipe.close()
    with pytest.raises(ValueError, match="The text is not UTF-8: byte 0xFF"):
        read_prompt("Summarise:")


def test_stdin_that_cannot_be_asked_is_read(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x")))
    assert read_prompt("a") == "a\n\nx"
