"""What was typed before, for the arrow keys: in a file that its owner alone can read."""

import contextlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from prompt_toolkit.history import History

_MAX_LINES = 1000
_MAX_BYTES = 1 << 20


class FileHistory(History):
    """Messages in a file, a line of JSON each; the newest are kept.

    Any number of programs may use it at once. A disk that is full or read-only means
    less to look back at, and no more.
    """

    def __init__(self, path: Path):
        """Opens the file; it appears with the first message."""
        super().__init__()
        self._path = path
        with contextlib.suppress(OSError):
            _shorten(path)

    def load_history_strings(self) -> Iterable[str]:
        """Yields what was typed, the newest first."""
        return reversed(list(_messages(_lines(self._path))))

    def store_string(self, string: str) -> None:
        """Adds a message."""
        line = json.dumps(string).encode() + b"\n"
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _append(self._path, line)


def _append(path: Path, line: bytes) -> None:
    # One write of the whole line: others may append at the same time.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def _shorten(path: Path) -> None:
    """Leaves the newest lines, if there are too many."""
    lines = _lines(path)
    kept, num_bytes = [], 0
    for line in reversed(lines):
        num_bytes += len(line)
        if len(kept) == _MAX_LINES or num_bytes > _MAX_BYTES:
            break
        kept.append(line)
    if len(kept) == len(lines):
        return
    # Half of what may be there, or the next start would do this again.
    kept = kept[: _MAX_LINES // 2]
    partial = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        _append(partial, b"".join(reversed(kept)))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines(keepends=True)
    except OSError:
        return []


def _messages(lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        with contextlib.suppress(ValueError):  # a line that was cut
            message = json.loads(line)
            if isinstance(message, str):
                yield message
