"""A model and its params become a checkpoint on disk."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from gemma.gm.ckpts._names_huggingface import config_to_json, names_huggingface
from gemma.gm.ckpts._safetensors import write_safetensors
from gemma.gm.nn import Transformer
from gemma.gm.typing import DType, Params
from gemma.gm.weights import QuantizedArray, flatten

# What stands beside the weights in a Hugging Face folder and belongs to the tokenizer.
_TOKENIZER_FILES = (
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
)


def save_model(
    path: Path | str,
    model: Transformer,
    params: Params,
    *,
    dtype: DType | None = None,
    max_shard_bytes: int = 5_000_000_000,
) -> None:
    """Writes a Hugging Face folder, which transformers and `load_model` can read.

    The folder appears under its name once it is whole. If the model came from a
    Hugging Face folder, the files of its tokenizer are copied along.

    Args:
      path: The folder to make. It must not exist.
      model: The model.
      params: Its params.
      dtype: Dtype to write; by default that of the embedding table.
      max_shard_bytes: Largest size of one file.

    Raises:
      FileExistsError: There is something at the path.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists. Choose another name or remove it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        _fill(unfinished, model, params, dtype, max_shard_bytes)
        unfinished.chmod(0o777 & ~_umask())  # mkdtemp makes folders private
        os.replace(unfinished, path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _fill(
    folder: Path,
    model: Transformer,
    params: Params,
    dtype: DType | None,
    max_shard_bytes: int,
) -> None:
    weights = flatten(params)
    dtype = np.dtype(dtype or weights["embedder/input_embedding"].dtype)
    table = names_huggingface(model.config, present=())
    ours = {entry.name: path for path, entry in table.items()}

    def read(name: str) -> np.ndarray:
        weight = weights[ours[name]]
        shape = table[ours[name]].their_shape(weight.shape)
        if isinstance(weight, QuantizedArray):
            weight = weight.dequantize()
        return np.asarray(weight).astype(dtype).reshape(shape)

    sizes = {n: weights[p].size * dtype.itemsize for n, p in ours.items()}
    write_safetensors(folder, sizes, read, max_shard_bytes=max_shard_bytes)
    config = config_to_json(model.config, jnp.dtype(dtype).name)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    if model.checkpoint is not None and model.checkpoint.is_dir():
        for name in _TOKENIZER_FILES:
            if (model.checkpoint / name).exists():
                shutil.copy(model.checkpoint / name, folder / name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
