"""Checkpoints: files of several formats <-> a model and its params."""

from typing import TYPE_CHECKING

from gemma.gm._lazy import lazily
from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._gguf import EMBEDDING, GgufFile, find_gguf, read_gguf_metadata
from gemma.gm.ckpts._strings import Strings

if TYPE_CHECKING:
    from gemma.gm.ckpts._gguf_tensors import GgufType, gguf_rounded
    from gemma.gm.ckpts._gguf_writer import save_gguf
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
    from gemma.gm.ckpts._names_huggingface import config_from_json
    from gemma.gm.ckpts._orbax_save import save_orbax
    from gemma.gm.ckpts._save import save_model, save_weights

__getattr__ = lazily(
    __name__,
    {
        "AS_STORED": "_load",
        "Checkpoint": "_load",
        "GgufType": "_gguf_tensors",
        "Progress": "_load",
        "config_from_json": "_names_huggingface",
        "default_dtype": "_load",
        "gguf_rounded": "_gguf_tensors",
        "load_config": "_load",
        "load_model": "_load",
        "load_params": "_load",
        "open_checkpoint": "_load",
        "save_gguf": "_gguf_writer",
        "save_model": "_save",
        "save_orbax": "_orbax_save",
        "save_weights": "_save",
    },
)

__all__ = [
    "AS_STORED",
    "EMBEDDING",
    "Checkpoint",
    "CheckpointError",
    "GgufFile",
    "GgufType",
    "Progress",
    "Strings",
    "config_from_json",
    "default_dtype",
    "find_gguf",
    "gguf_rounded",
    "load_config",
    "load_model",
    "load_params",
    "open_checkpoint",
    "read_gguf_metadata",
    "save_gguf",
    "save_model",
    "save_orbax",
    "save_weights",
]
