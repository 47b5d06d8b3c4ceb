"""A model and its params become a checkpoint on disk."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import jax
import numpy as np

from gemma.gm.ckpts._load import AS_STORED, is_float
from gemma.gm.ckpts._names_huggingface import config_to_json, names_huggingface
from gemma.gm.ckpts._quantization_config import PackedTensor, packed_to_json
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
    files: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Writes a Hugging Face folder, which `load_model` can read.

    The folder appears under its name once it is whole. If the model came from a
    Hugging Face folder, the files of its tokenizer are copied along. transformers can
    read the folder too, unless its weights are packed.

    Args:
      path: The folder to make. It must not exist.
      model: The model.
      params: Its params.
      dtype: Dtype to write; or "as-stored" for weights as they are in memory, those
        that are packed bit for bit. By default that of the embedding table, which is
        float32 for a packed one.
      max_shard_bytes: Largest size of one file.
      files: What else to put into the folder, by name, such as a tokenizer.model.

    Raises:
      FileExistsError: There is something at the path.
      ValueError: Weights cannot be written as `dtype`.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists. Choose another name or remove it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        _fill(unfinished, model, params, dtype, max_shard_bytes)
        for name, content in files.items():
            (unfinished / name).write_bytes(content)
        unfinished.chmod(0o777 & ~_umask())  # mkdtemp makes folders private
        os.replace(unfinished, path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


class _Tensor(NamedTuple):
    """One tensor to write."""

    weight: jax.Array | QuantizedArray | np.ndarray
    dtype: np.dtype
    lay: Callable[[np.ndarray], np.ndarray]  # as it lies in the file

    @property
    def num_bytes(self) -> int:
        """Bytes in the file."""
        return self.weight.size * self.dtype.itemsize

    def read(self) -> np.ndarray:
        """Returns what the file gets; made when its turn comes."""
        weight = self.weight
        plain = weight.dequantize() if isinstance(weight, QuantizedArray) else weight
        return self.lay(np.asarray(plain).astype(self.dtype, copy=False))


def _fill(
    folder: Path,
    model: Transformer,
    params: Params,
    dtype: DType | None,
    max_shard_bytes: int,
) -> None:
    weights = flatten(params)
    keep = isinstance(dtype, str) and dtype == AS_STORED
    if keep or dtype is None:
        # Packed weights have none that config.json could state; norms are never packed.
        dtype = weights["final_norm" if keep else "embedder/input_embedding"].dtype
    if not is_float(dtype):
        raise ValueError(
            f"Weights cannot be written as {dtype!r}: pass a float dtype; or pack them "
            f"with gm.peft.quantize and pass {AS_STORED!r}."
        )
    tensors: dict[str, _Tensor] = {}
    packed: dict[str, PackedTensor] = {}
    for ours, entry in names_huggingface(model.config, present=()).items():
        weight = weights[ours]
        if keep and isinstance(weight, QuantizedArray):
            shape = entry.their_shape(weight.shape)
            packed[entry.name] = PackedTensor(weight.kind, (shape[0], shape[-1]))
            tensors[entry.name] = _Tensor(weight.tiles, np.dtype(np.uint8), np.asarray)
        else:
            written = np.dtype(weight.dtype if keep else dtype)
            tensors[entry.name] = _Tensor(weight, written, entry.to_theirs)
    write_safetensors(
        folder,
        {name: tensor.num_bytes for name, tensor in tensors.items()},
        lambda name: tensors[name].read(),
        max_shard_bytes=max_shard_bytes,
    )
    config = config_to_json(model.config, np.dtype(dtype).name) | packed_to_json(packed)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    _copy_tokenizer(model, folder)


def _copy_tokenizer(model: Transformer, folder: Path) -> None:
    """Copies the files of the tokenizer, if the model came from such a folder."""
    if model.checkpoint is not None and model.checkpoint.is_dir():
        for name in _TOKENIZER_FILES:
            if (model.checkpoint / name).exists():
                shutil.copy(model.checkpoint / name, folder / name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
