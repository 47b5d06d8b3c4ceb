"""What killed runs leave behind, and folders on other disks."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gemma.gm.ckpts import updated_folder, whole_file
from gemma.gm.ckpts._leftovers import unfinished_prefix
from gemma.gm.ckpts._unfinished import whole_folder

KILLED = """
import os, sys
from pathlib import Path
from gemma.gm.ckpts import updated_folder, whole_file
from gemma.gm.ckpts._unfinished import whole_folder
target, way = Path(sys.argv[1]), sys.argv[2]
with {"folder": whole_folder, "file": whole_file, "into": updated_folder}[way](target) as made:
    if way == "into":
        made.mkdir()
    (made if way == "file" else made / "weights").write_bytes(b"half")
    os._exit(9)
"""
WAYS = {"folder": whole_folder, "file": whole_file, "into": updated_folder}


def hidden(folder):
    return [path for path in folder.iterdir() if path.name.startswith(".")]


def finish(way, target):
    with WAYS[way](target) as made:
        if way == "into":
            made.mkdir()
        (made if way == "file" else made / "weights").write_bytes(b"whole")


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_next_run_removes_what_a_killed_one_left(way, tmp_path):
    target = tmp_path / "mine"
    done = subprocess.run([sys.executable, "-c", KILLED, target, way], check=False)
    folder = target if way == "into" else tmp_path
    assert done.returncode == 9
    assert len(hidden(folder)) == 1
    finish(way, target)
    assert hidden(folder) == []
    assert (target if way == "file" else target / "weights").read_bytes() == b"whole"


@pytest.mark.parametrize("way", WAYS)
def test_what_a_live_run_writes_stays(way, tmp_path):
    target = tmp_path / "mine"
    with WAYS[way](target) as ours:
        if way == "folder":
            finish("into", target)
            target.rename(tmp_path / "other")
        else:
            finish(way, target)
        if way == "into":
            ours.mkdir()
        assert ours.exists()


def leftover(folder, name, pid, machine=None):
    """Makes what a process left; returns its path."""
    prefix = unfinished_prefix(name).replace(f"-{os.getpid()}-", f"-{pid}-")
    if machine is not None:
        ours = prefix.split("-")[1]
        prefix = prefix.replace(ours, machine)
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    (made / "weights").write_bytes(b"half")
    return made


NO_PROCESS = 2**22 + 1  # above what Linux numbers


def test_only_what_is_over_goes(tmp_path):
    dead = leftover(tmp_path, "mine", NO_PROCESS)
    kept = [
        leftover(tmp_path, "mine", os.getpid()),
        leftover(tmp_path, "mine", NO_PROCESS, machine="0" * 8),
        leftover(tmp_path, "another", NO_PROCESS),
    ]
    old = leftover(tmp_path, "mine", NO_PROCESS, machine="0" * 8)
    for path in (old / "weights", old):
        os.utime(path, (0, 0))
    (tmp_path / ".mine-of-a-user").mkdir()
    finish("folder", tmp_path / "mine")
    assert not dead.exists()
    assert not old.exists()
    assert all((path / "weights").exists() for path in kept)
    assert (tmp_path / ".mine-of-a-user").exists()


def test_a_link_to_another_disk(tmp_path):
    disk = Path("/dev/shm")
    if not disk.is_dir() or disk.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("There is no second disk.")
    with tempfile.TemporaryDirectory(dir=disk) as there:
        (Path(there) / "old.safetensors").write_bytes(b"old")
        (Path(there) / "precious").write_bytes(b"mine")
        (tmp_path / "link").symlink_to(there)
        with updated_folder(tmp_path / "link", replaced=["*.safetensors"]) as made:
            made.mkdir()
            (made / "weights").write_bytes(b"new")
        names = sorted(path.name for path in Path(there).iterdir())
        assert names == ["precious", "weights"]
        assert (tmp_path / "link").is_symlink()


def fail_to_fill(folder):
    with updated_folder(folder, replaced=["*"]) as made:
        made.mkdir()
        (made / "new").write_bytes(b"new")
        raise RuntimeError


def test_what_goes_wrong_leaves_the_folder_as_it_was(tmp_path):
    (tmp_path / "old.safetensors").write_bytes(b"old")
    with pytest.raises(RuntimeError):
        fail_to_fill(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["old.safetensors"]
