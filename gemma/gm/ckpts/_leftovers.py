"""Names of unfinished files, which say whose they are; what killed runs left, goes."""

import hashlib
import os
import re
import shutil
import socket
import time
from pathlib import Path

# Who writes for so long without touching a file has stopped.
_OLD_SECONDS = 7 * 24 * 3600


def unfinished_prefix(name: str) -> str:
    """Returns how the hidden name begins of what shall get a name once it is whole."""
    return f".{name}.unfinished-{_machine()}-{os.getpid()}-"


def remove_leftovers(folder: Path, name: str) -> None:
    """Removes what runs that were killed left of something that has a name.

    A run is over if its process is no longer there, on the same machine; or if nothing
    of it was written for a week.

    Args:
      folder: Where unfinished files are.
      name: The name that they should have got.
    """
    pattern = re.compile(
        re.escape(f".{name}.unfinished-") + r"(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)-\w+"
    )
    for path in folder.glob(".*.unfinished-*"):
        owner = pattern.fullmatch(path.name)
        if owner is None or not _is_over(path, owner["machine"], int(owner["pid"])):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_over(path: Path, machine: str, pid: int) -> bool:
    if machine == _machine() and not _is_running(pid):
        return True
    try:
        times = [file.lstat().st_mtime for file in (path, *path.rglob("*"))]
    except FileNotFoundError:  # another process removes or finishes it
        return False
    return time.time() - max(times) > _OLD_SECONDS


def _is_running(pid: int) -> bool:
    if os.name == "nt":  # where signal 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _machine() -> str:
    """Returns a name of what numbers processes: this machine, or a container on it."""
    try:
        numbering = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbering = ""
    text = f"{socket.gethostname()} {numbering}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]
