"""A model and its params become a checkpoint on disk."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from gemma.gm.ckpts._belongings import copy_belongings, stated_labels
from gemma.gm.ckpts._json import write_json
from gemma.gm.ckpts._lazy_array import LazyArray
from gemma.gm.ckpts._load import AS_STORED, is_float
from gemma.gm.ckpts._names import Entry
from gemma.gm.ckpts._names_huggingface import (
    classifier_to_json,
    config_to_json,
    names_huggingface,
    names_score,
)
from gemma.gm.ckpts._quantization_config import PackedTensor, packed_to_json
from gemma.gm.ckpts._safetensors import write_safetensors
from gemma.gm.ckpts._unfinished import whole_folder
from gemma.gm.nn import Classifier, Transformer, fit_to_params
from gemma.gm.typing import DType, Params
from gemma.gm.weights import QuantizedArray, flatten

MAX_SHARD_BYTES = 5_000_000_000


def save_model(
    path: Path | str,
    model: Transformer | Classifier,
    params: Params,
    *,
    dtype: DType | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    files: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Writes a Hugging Face folder, which `load_model` can read.

    The folder appears under its name once it is whole. If the model came from a
    folder, its tokenizer, chat template and settings are copied along. transformers can
    read the folder too, unless its weights are packed.

    Args:
      path: The folder to make. It must not exist.
      model: The model, or a classifier.
      params: Its params.
      dtype: Dtype to write; or "as-stored" for weights as they are in memory, those
        that are packed bit for bit. By default that of the embedding table, which is
        float32 for a packed one.
      max_shard_bytes: Largest size of one file.
      files: What else to put into the folder, by name, such as a tokenizer.model.

    Raises:
      FileExistsError: There is something at the path.
      ValueError: Weights cannot be written as `dtype`, or are not the model's.
    """
    decoder = model.model if isinstance(model, Classifier) else model
    decoder, weights = fit_to_params(decoder, params), flatten(params)
    keep = isinstance(dtype, str) and dtype == AS_STORED
    if keep or dtype is None:
        # Packed weights have none that config.json could state; norms are never packed.
        dtype = weights["final_norm" if keep else "embedder/input_embedding"].dtype
    _check_dtype(dtype)
    tensors: dict[str, LazyArray] = {}
    packed: dict[str, PackedTensor] = {}
    names = names_huggingface(decoder.config, present=())
    config = config_to_json(decoder.config, np.dtype(dtype).name)
    if isinstance(model, Classifier):
        names |= names_score(model)
        config |= classifier_to_json(model) | stated_labels(model)
    for ours, entry in names.items():
        weight = weights[ours]
        if keep and isinstance(weight, QuantizedArray):
            shape = entry.their_shape(weight.shape)
            packed[entry.name] = PackedTensor(weight.kind, (shape[0], shape[-1]))
            tensors[entry.name] = _stored(weight)
        else:
            written = np.dtype(weight.dtype if keep else dtype)
            tensors[entry.name] = _converted(weight, entry, written)
    config |= packed_to_json(packed)
    _write(path, decoder, tensors, config, max_shard_bytes, files)


def save_weights(
    path: Path | str,
    model: Transformer,
    read: Callable[[str], np.ndarray],
    *,
    dtype: DType,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    files: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Writes a Hugging Face folder of weights that need not be in memory.

    See `save_model`. Memory holds what one file does.

    Args:
      path: The folder to make. It must not exist.
      model: The model.
      read: Returns one weight by our name, in our layout, such as
        `Checkpoint.read_weight`.
      dtype: Dtype to write.
      max_shard_bytes: Largest size of one file.
      files: What else to put into the folder, by name.

    Raises:
      FileExistsError: There is something at the path.
      ValueError: Weights cannot be written as `dtype`.
    """
    _check_dtype(dtype)
    specs, written = flatten(model.specs()), np.dtype(dtype)

    def tensor(ours: str, entry: Entry) -> LazyArray:
        return LazyArray(
            entry.their_shape(specs[ours].shape),
            written,
            lambda: entry.to_theirs(read(ours).astype(written, copy=False)),
        )

    names = names_huggingface(model.config, present=())
    tensors = {entry.name: tensor(ours, entry) for ours, entry in names.items()}
    config = config_to_json(model.config, written.name)
    _write(path, model, tensors, config, max_shard_bytes, files)


def _stored(weight: QuantizedArray) -> LazyArray:
    tiles = weight.tiles
    return LazyArray(tiles.shape, np.dtype(tiles.dtype), lambda: np.asarray(tiles))


def _converted(
    weight: jax.Array | QuantizedArray, entry: Entry, dtype: np.dtype
) -> LazyArray:
    def read() -> np.ndarray:
        plain = weight.dequantize() if isinstance(weight, QuantizedArray) else weight
        return entry.to_theirs(np.asarray(plain).astype(dtype, copy=False))

    return LazyArray(entry.their_shape(weight.shape), dtype, read)


def _check_dtype(dtype: DType) -> None:
    if not is_float(dtype):
        raise ValueError(
            f"Weights cannot be written as {dtype!r}: pass a float dtype; or pack them "
            f"with gm.peft.quantize and pass {AS_STORED!r}."
        )


def _write(
    path: Path | str,
    model: Transformer,
    tensors: Mapping[str, LazyArray],
    config: Mapping[str, Any],
    max_shard_bytes: int,
    files: Mapping[str, bytes],
) -> None:
    with whole_folder(Path(path)) as folder:
        write_safetensors(folder, tensors, max_shard_bytes=max_shard_bytes)
        write_json(folder / "config.json", config)
        copy_belongings(model, folder)
        for name, content in files.items():
            (folder / name).write_bytes(content)
