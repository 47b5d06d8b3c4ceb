"""Checkpoints: files of several formats <-> a model and its params."""

from typing import TYPE_CHECKING

from gemma.gm._lazy import lazily
from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._gguf import EMBEDDING, GgufFile, find_gguf, read_gguf_metadata
from gemma.gm.ckpts._strings import Strings

if TYPE_CHECKING:
    from gemma.gm.ckpts._load import (
        AS_STORED,
        Checkpoint,
        Progress,
        default_dtype,
        load_config,
        load_model,
        load_params,
        open_checkpoint,
    )
    from gemma.gm.ckpts._save import save_model

__getattr__ = lazily(
    __name__,
    {
        "AS_STORED": "_load",
        "Checkpoint": "_load",
        "Progress": "_load",
        "default_dtype": "_load",
        "load_config": "_load",
        "load_model": "_load",
        "load_params": "_load",
        "open_checkpoint": "_load",
        "save_model": "_save",
    },
)

__all__ = [
    "AS_STORED",
    "EMBEDDING",
    "Checkpoint",
    "CheckpointError",
    "GgufFile",
    "Progress",
    "Strings",
    "default_dtype",
    "find_gguf",
    "load_config",
    "load_model",
    "load_params",
    "open_checkpoint",
    "read_gguf_metadata",
    "save_model",
]
