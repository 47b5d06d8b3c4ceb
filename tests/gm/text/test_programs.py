"""Compiled programs on disk: what is read back runs, whatever came before."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma.gm.text import _programs
from gemma.gm.text._programs import StoredProgram, compile_missing, init_cache


@pytest.fixture
def keep(tiny_model, tmp_path, monkeypatch):
    """A function that returns a program for the cache of a tiny model."""
    monkeypatch.setattr(_programs.hub, "cache_dir", lambda: tmp_path)
    model = tiny_model("gemma2_gqa").model
    return lambda: StoredProgram(b"here", init_cache, model, 1, 24, 0, jnp.float32)


def runs(program) -> bool:
    cache = program()
    return not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(cache))


def test_missing_programs_are_compiled_and_kept(keep):
    program = keep()
    assert not program.is_there()
    compile_missing([program])
    assert program.is_there()
    assert runs(program)


def test_what_was_kept_is_read(keep, monkeypatch):
    compile_missing([keep()])
    monkeypatch.setattr(StoredProgram, "compile", lambda self: pytest.fail("compiled"))
    read, begun = keep(), keep()
    begun.begin_reading()
    assert runs(read)
    assert runs(begun)


def test_what_is_read_counts_as_new(keep):
    compile_missing([keep()])
    program = keep()
    os.utime(program._path, (1, 1))
    assert runs(program)
    assert program._path.stat().st_mtime > 1


@pytest.mark.parametrize("content", [b"", b"words", b"\x80\x04N."])
def test_damaged_files_are_replaced(keep, content):
    program = keep()
    program._path.parent.mkdir(parents=True)
    program._path.write_bytes(content)
    assert runs(program)
    assert program._path.read_bytes() != content
    assert runs(keep())


def test_programs_of_xlas_cache_are_not_written_again(keep):
    """XLA cannot serialize a program that it has deserialized; it does not say so."""
    program = keep()
    for _ in range(2):
        jax.clear_caches()
        program._function(*program._arguments)
    compile_missing([program])
    assert runs(keep())


def test_old_programs_go(keep, monkeypatch):
    monkeypatch.setattr(_programs, "_MAX_FILES", 3)
    folder = keep()._path.parent
    for i in range(5):
        _programs._write(folder / str(i), b"x")
        os.utime(folder / str(i), (i, i))  # clocks are coarse
    assert sorted(file.name for file in folder.iterdir()) == ["2", "3", "4"]


_ENDS_AT_ONCE = """
import pathlib, pickle, sys, time
from gemma.gm.text import _programs

def load(*stored):
    time.sleep(0.3)
    print("read", *stored)

_programs.hub.cache_dir = lambda: pathlib.Path(sys.argv[1])
_programs.serialize_executable.deserialize_and_load = load
program = _programs.StoredProgram(b"here", _programs.init_cache, None)
program._path.parent.mkdir()
program._path.write_bytes(pickle.dumps(("one",)))
program.begin_reading()
"""


@pytest.mark.slow
def test_a_process_does_not_end_while_a_program_is_read(tmp_path):
    """Python would unwind the thread through XLA's C++, which then aborts."""
    command = [sys.executable, "-c", _ENDS_AT_ONCE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "read one\n"
