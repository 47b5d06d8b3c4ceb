"""What a path holds if it is no checkpoint that can be read: one line that helps."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gemma.gm.ckpts._errors import CheckpointError

_LFS = b"version https://git-lfs"
IS_LFS_POINTER = (
    "is a git-LFS pointer, not the file that it stands for: run `git lfs pull` in its "
    "folder, or download the file again."
)
# Beside a config.json of old versions of their programs, which says nothing itself.
_QUANTIZED = {"quantize_config.json": "gptq", "quant_config.json": "awq"}


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is what git leaves in place of a large one."""
    with open(path, "rb") as file:
        return file.read(len(_LFS)) == _LFS


def refuse_foreign(path: Path, config: Mapping[str, Any] | None) -> None:
    """Refuses a folder or file of another program by what it is.

    Args:
      path: A folder or file that is neither GGUF nor Orbax.
      config: What its config.json states; None if it has none.

    Raises:
      CheckpointError: It is one of those known.
    """
    if path.is_file() and is_lfs_pointer(path):
        raise CheckpointError(f"{path} {IS_LFS_POINTER}")
    if config is None:
        _refuse_steps(path)
    weights = [file.name for file in path.glob("*.safetensors")]
    if all(name.startswith("adapter_model") for name in weights):
        _refuse_adapter(path)
    if config is not None:
        _refuse_quantized(path, config)
    flax = sorted(path.glob("*.msgpack"))
    if flax and not weights:
        raise CheckpointError(
            f"{flax[0]} holds weights of Flax, which are not read: take the model's "
            ".safetensors files, or load it in transformers 4 with from_flax=True and "
            "save it with save_pretrained."
        )


def _refuse_adapter(path: Path) -> None:
    file = path / "adapter_config.json"
    if not file.exists():
        return
    try:
        base = json.loads(file.read_bytes())["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError):
        base = None
    of = f" of {base!r}" if isinstance(base, str) else ""
    raise CheckpointError(
        f"{path} is a PEFT adapter{of}, not a model: merge it into its base model "
        "(merge_and_unload and save_pretrained in peft) and load the result."
    )


def _refuse_steps(path: Path) -> None:
    """Refuses what a CheckpointManager keeps: a directory for each step."""
    if not path.is_dir():
        return
    names = [folder.name for folder in path.iterdir() if folder.is_dir()]
    steps = [name for name in names if name.rpartition("_")[2].isdecimal()]
    found = [name for name in steps if _is_step(path / name)]
    if found:
        newest = max(found, key=lambda name: int(name.rpartition("_")[2]))
        raise CheckpointError(
            f"{path} holds the checkpoints of {len(found)} training steps: name one, "
            f"such as {path / newest}."
        )


def _is_step(folder: Path) -> bool:
    marks = ("_CHECKPOINT_METADATA", "_METADATA", "*/_METADATA", "*/manifest.ocdbt")
    return any(any(folder.glob(mark)) for mark in marks)


def _refuse_quantized(path: Path, config: Mapping[str, Any]) -> None:
    if "quantization" in config:
        raise CheckpointError(
            f"{path} is quantized by MLX, which cannot be read. Take the checkpoint "
            "that is not quantized and pass int8, int4 or nf4 as the dtype of the "
            "weights, or take a GGUF file."
        )
    if "quantization_config" in config:
        return
    text = config.get("text_config")
    inner = isinstance(text, Mapping) and text.get("quantization_config")
    method = inner.get("quant_method") if isinstance(inner, Mapping) else None
    if "compression_config" in config:
        method = "compressed-tensors"
    for name, program in _QUANTIZED.items():
        if (path / name).exists():
            method = method or program
    if method is not None:
        raise CheckpointError(
            f"{path} is quantized by {method!r}, which cannot be read. Take the "
            "checkpoint that is not quantized and pass int8, int4 or nf4 as the dtype "
            "of the weights, or take a GGUF file."
        )
