"""What of this process lies in memory."""

from pathlib import Path

import pytest

_STATUS = Path("/proc/self/status")
on_linux = pytest.mark.skipif(not _STATUS.exists(), reason="needs Linux")


def file_backed_bytes() -> int:
    """Returns how many bytes of mapped files are in memory."""
    return int(_STATUS.read_text().split("RssFile:")[1].split()[0]) * 1024
