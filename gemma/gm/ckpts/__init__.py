"""Checkpoints: files of several formats <-> a model and its params."""

from typing import TYPE_CHECKING

from gemma.gm._lazy import lazily
from gemma.gm.ckpts._added_tokens import num_held
from gemma.gm.ckpts._chat_templates import read_chat_templates
from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._foreign import IS_LFS_POINTER, is_lfs_pointer
from gemma.gm.ckpts._generation_defaults import SAMPLING_KEYS, read_generation_defaults
from gemma.gm.ckpts._gguf import EMBEDDING, GgufFile, find_gguf, read_gguf_metadata
from gemma.gm.ckpts._gguf_vocabulary import gguf_pieces, is_reserved, settled_kinds
from gemma.gm.ckpts._json import json_bytes, read_json_object, write_json
from gemma.gm.ckpts._paths import CheckpointPath
from gemma.gm.ckpts._strings import Strings
from gemma.gm.ckpts._unfinished import updated_folder, whole_file

if TYPE_CHECKING:
    from gemma.gm.ckpts._classifiers import (
        classifier_of,
        load_classifier,
        read_classifier,
    )
    from gemma.gm.ckpts._deepmind_tree import (
        check_deepmind,
        from_deepmind,
        infer_config,
        read_deepmind,
        to_deepmind,
    )
    from gemma.gm.ckpts._gguf_tensors import GgufType, gguf_rounded
    from gemma.gm.ckpts._gguf_writer import save_gguf
    from gemma.gm.ckpts._load import (
        AS_STORED,
        Checkpoint,
        Progress,
        default_dtype,
        open_checkpoint,
    )
    from gemma.gm.ckpts._loaders import load_config, load_model, load_params
    from gemma.gm.ckpts._named_tensors import named_tensors
    from gemma.gm.ckpts._names_huggingface import config_from_json, config_to_json
    from gemma.gm.ckpts._orbax_save import save_orbax, save_params
    from gemma.gm.ckpts._origins import origin_of
    from gemma.gm.ckpts._save import MAX_SHARD_BYTES, save_model, save_weights
    from gemma.gm.ckpts._tokenizer_json import text_rule, tokenizer_json

__getattr__ = lazily(
    __name__,
    {
        "AS_STORED": "_load",
        "Checkpoint": "_load",
        "GgufType": "_gguf_tensors",
        "MAX_SHARD_BYTES": "_save",
        "Progress": "_load",
        "check_deepmind": "_deepmind_tree",
        "classifier_of": "_classifiers",
        "config_from_json": "_names_huggingface",
        "config_to_json": "_names_huggingface",
        "default_dtype": "_load",
        "from_deepmind": "_deepmind_tree",
        "gguf_rounded": "_gguf_tensors",
        "infer_config": "_deepmind_tree",
        "load_classifier": "_classifiers",
        "load_config": "_loaders",
        "load_model": "_loaders",
        "load_params": "_loaders",
        "named_tensors": "_named_tensors",
        "open_checkpoint": "_load",
        "origin_of": "_origins",
        "read_classifier": "_classifiers",
        "read_deepmind": "_deepmind_tree",
        "save_gguf": "_gguf_writer",
        "save_model": "_save",
        "save_orbax": "_orbax_save",
        "save_params": "_orbax_save",
        "save_weights": "_save",
        "text_rule": "_tokenizer_json",
        "to_deepmind": "_deepmind_tree",
        "tokenizer_json": "_tokenizer_json",
    },
)

__all__ = [
    "AS_STORED",
    "EMBEDDING",
    "IS_LFS_POINTER",
    "MAX_SHARD_BYTES",
    "SAMPLING_KEYS",
    "Checkpoint",
    "CheckpointError",
    "CheckpointPath",
    "GgufFile",
    "GgufType",
    "Progress",
    "Strings",
    "check_deepmind",
    "classifier_of",
    "config_from_json",
    "config_to_json",
    "default_dtype",
    "find_gguf",
    "from_deepmind",
    "gguf_pieces",
    "gguf_rounded",
    "infer_config",
    "is_lfs_pointer",
    "is_reserved",
    "json_bytes",
    "load_classifier",
    "load_config",
    "load_model",
    "load_params",
    "named_tensors",
    "num_held",
    "open_checkpoint",
    "origin_of",
    "read_chat_templates",
    "read_classifier",
    "read_deepmind",
    "read_generation_defaults",
    "read_gguf_metadata",
    "read_json_object",
    "save_gguf",
    "save_model",
    "save_orbax",
    "save_params",
    "save_weights",
    "settled_kinds",
    "text_rule",
    "to_deepmind",
    "tokenizer_json",
    "updated_folder",
    "whole_file",
    "write_json",
]
