"""A file that is mapped into memory, and read a part at a time."""

import mmap
import os
from pathlib import Path

import numpy as np

from gemma.gm.ckpts._errors import CheckpointError


class MappedFile:
    """The bytes of a file, which stay those that were opened if it is replaced.

    Attributes:
      data: The bytes.
    """

    data: mmap.mmap

    def __init__(self, path: Path):
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise CheckpointError(f"{path} is empty.")
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self.data)

    def view(self, begin: int, num_bytes: int) -> np.ndarray:
        """Returns some bytes, without a copy."""
        return np.frombuffer(self.data, np.uint8, num_bytes, begin)

    def give_back(self, begin: int, num_bytes: int) -> None:
        """Unmaps the pages of some bytes, which would else count as the process's memory.

        They are mapped again if they are read again, by other threads at the edges.
        """
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            from_page = begin % mmap.PAGESIZE
            self.data.madvise(
                mmap.MADV_DONTNEED, begin - from_page, from_page + num_bytes
            )
