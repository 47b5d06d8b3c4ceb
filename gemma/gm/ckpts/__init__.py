"""Checkpoints: files of several formats <-> a model and its params."""

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._gguf import GgufFile, read_gguf_metadata
from gemma.gm.ckpts._load import (
    Checkpoint,
    default_dtype,
    load_config,
    load_model,
    load_params,
    open_checkpoint,
)
from gemma.gm.ckpts._save import save_model

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "GgufFile",
    "default_dtype",
    "load_config",
    "load_model",
    "load_params",
    "open_checkpoint",
    "read_gguf_metadata",
    "save_model",
]
