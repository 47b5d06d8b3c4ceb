"""Files are read while Python imports JAX, which takes half a second. Needs no JAX itself."""

import importlib.util
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from gemma.gm import hub, kernels
from gemma.gm.ckpts import EMBEDDING, GgufFile, find_gguf
from gemma.gm.kernels import make_outline
from gemma.gm.text._tokenizer import Tokenizer
from gemma.gm.typing import DType


class Reading:
    """A checkpoint that is being read; made by `read_ahead`.

    Attributes:
      path: The folder or file.
      gguf: The GGUF file, if it is one.
      tokenizer: Its tokenizer, when it is done.
    """

    def __init__(self, path: Path, *, repack: bool):
        """Opens the files, and goes on in threads.

        Args:
          path: The folder or file.
          repack: Whether the weights of a GGUF file are to be packed for the kernels.
        """
        self.path = path
        found = find_gguf(path)
        self.gguf = None if found is None else GgufFile(found)
        self._pool = ThreadPoolExecutor(1)
        self.tokenizer: Future[Tokenizer] = self._pool.submit(self._read_tokenizer)
        self._outline: Future[np.ndarray] | None = None
        if repack and self.gguf is not None:
            self.gguf.read_ahead()
            is_tied = not self.gguf.has_head
            if is_tied and (head := self.gguf.packed_ahead(EMBEDDING)):
                kind = self.gguf.packed_kind(EMBEDDING)
                columns = self.gguf.shapes[EMBEDDING][1]
                assert kind is not None
                self._outline = self._pool.submit(
                    lambda: make_outline(head.result(), kind, columns, num_threads=1)
                )

    def head_outline(self) -> np.ndarray | None:
        """Returns the outline of the head, if it was packed for the kernels."""
        return None if self._outline is None else self._outline.result()

    def stop(self) -> None:
        """Leaves what has not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self.gguf is not None:
            self.gguf.stop_reading_ahead()

    def _read_tokenizer(self) -> Tokenizer:
        if self.gguf is not None:
            return Tokenizer.from_metadata(self.gguf.metadata, self.gguf.path)
        return Tokenizer.from_path(self.path)


def read_ahead(
    name: str | Path | None = None, *, dtype: DType | None = None
) -> Reading:
    """Begins to read a checkpoint; hand what it returns to `Sampler.from_pretrained`.

    A program that imports JAX, and whatever else takes long, after this call begins to
    answer a third sooner.

    Args:
      name: See `gm.hub.resolve`.
      dtype: What `Sampler.from_pretrained` will be asked for.

    Raises:
      FileNotFoundError: There is nothing at the path.
      ckpts.CheckpointError: A GGUF file is damaged.
    """
    is_stored = dtype is None or (isinstance(dtype, str) and dtype == "as-stored")
    repack = is_stored and kernels.available() and not _expects_accelerator()
    return Reading(hub.resolve(name), repack=repack)


def _expects_accelerator() -> bool:
    """Returns whether JAX may find something else than a CPU, where nothing is packed."""
    platforms = os.environ.get("JAX_PLATFORMS")
    if platforms:
        return platforms != "cpu"
    plugins = ("jax_plugins", "libtpu")
    return any(importlib.util.find_spec(name) is not None for name in plugins)
