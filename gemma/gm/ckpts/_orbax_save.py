"""A model becomes a directory that DeepMind's library can load."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from gemma.gm.ckpts._belongings import copy_belongings
from gemma.gm.ckpts._json import write_json
from gemma.gm.ckpts._lazy_array import LazyArray
from gemma.gm.ckpts._load import is_float
from gemma.gm.ckpts._names_huggingface import config_to_json
from gemma.gm.ckpts._names_orbax import (
    array_shapes,
    by_array,
    default_spelling,
    join,
    places_orbax,
)
from gemma.gm.ckpts._orbax import FLOATS, shapes_of
from gemma.gm.ckpts._orbax_config import config_from_sizes
from gemma.gm.ckpts._unfinished import whole_folder
from gemma.gm.nn import Transformer, TransformerConfig, fit_to_params
from gemma.gm.typing import DType, Params
from gemma.gm.weights import QuantizedArray, flatten


def save_orbax(
    path: Path | str,
    model: Transformer,
    read: Callable[[str], np.ndarray],
    *,
    dtype: DType,
    files: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Writes a directory that DeepMind's library can load, and `load_model` too.

    It has the tree of their models as it is in memory, and beside it a config.json,
    which they do not read. If the model came from a folder, its tokenizer, chat template
    and settings are copied along. It appears under its name once it is whole. Memory holds one
    of their arrays at a time, and the copy that Orbax makes of it.

    The table has as many rows as the model, and theirs must be made with that
    `num_embed`. Their published models have 256,128 (Gemma 1 and 2) and 262,144
    (Gemma 3); those of Hugging Face have 256,000 and, with eyes, 262,208.

    Args:
      path: The directory to make. It must not exist.
      model: The model.
      read: Returns one weight by our name, in our layout, such as
        `Checkpoint.read_weight`.
      dtype: Float dtype to write.
      files: What else to put into the directory, by name, such as a tokenizer.model.

    Raises:
      FileExistsError: There is something at the path.
      ImportError: orbax-checkpoint is missing.
      ValueError: Weights cannot be written as `dtype`.
    """
    from gemma.gm.ckpts._orbax_arrays import write_arrays

    if not is_float(dtype) or np.dtype(dtype).name not in FLOATS:
        raise ValueError(
            f"Weights cannot be written as {dtype!r}: choose {', '.join(FLOATS)}."
        )
    written = np.dtype(dtype)
    places = places_orbax(model.config, default_spelling(model.config))
    parts = by_array(places)

    def array(name: str, shape: tuple[int, ...]) -> LazyArray:
        return LazyArray(
            shape, written, lambda: join(parts[name], shape, written, read)
        )

    shapes = array_shapes(places, shapes_of(model.config))
    with whole_folder(Path(path)) as folder:
        arrays = {name: array(name, shape) for name, shape in shapes.items()}
        write_arrays(folder / "arrays", arrays)
        # Orbax makes its directory itself, and it must be the whole one.
        for file in (folder / "arrays").iterdir():
            os.replace(file, folder / file.name)
        (folder / "arrays").rmdir()
        config = config_to_json(model.config, written.name)
        write_json(folder / "config.json", config)
        copy_belongings(model, folder)
        for name, content in files.items():
            (folder / name).write_bytes(content)


def save_params(
    params: Params,
    path: Path | str,
    *,
    model: Transformer | None = None,
    dtype: DType | None = None,
    wait_until_finished: bool = True,
) -> None:
    """Writes params to a directory that DeepMind's library can load, and we too.

    See `save_orbax`. It is written when this call returns.

    Args:
      params: Our params.
      path: The directory to make. It must not exist.
      model: Their model. By default the text model that their shapes tell: its windows
        and caps are those of the published model of these sizes.
      dtype: Float dtype to write; by default that of the embedding, float32 for a
        packed one.
      wait_until_finished: Has no effect: it is always finished.

    Raises:
      FileExistsError: There is something at the path.
      ImportError: orbax-checkpoint is missing.
      ValueError: They cannot be written as `dtype`, or are those of no text model.
    """
    weights = flatten(params)

    def read(ours: str) -> np.ndarray:
        weight = weights[ours]
        if isinstance(weight, QuantizedArray):
            weight = weight.dequantize()
        return np.asarray(weight)

    if model is None:
        model = Transformer(_config_of(weights))
    model = fit_to_params(model, params)
    table = weights["embedder/input_embedding"]
    save_orbax(path, model, read, dtype=table.dtype if dtype is None else dtype)


def _config_of(weights: Mapping[str, Any]) -> TransformerConfig:
    """Returns the config of the text model that has these weights."""
    if any(name.startswith("vision/") for name in weights):
        raise ValueError(
            "The params have eyes, whose sizes they do not tell: pass model=."
        )
    try:
        num_heads, head_dim, embed_dim = weights["layer_0/attn/q"].shape
        sizes = {
            "num_layers": len([n for n in weights if n.endswith("attn/q")]),
            "embed_dim": embed_dim,
            "hidden_dim": weights["layer_0/mlp/gate"].shape[0],
            "num_heads": num_heads,
            "num_kv_heads": weights["layer_0/attn/k"].shape[0],
            "head_dim": head_dim,
            "vocab_size": weights["embedder/input_embedding"].shape[0],
        }
    except KeyError as error:
        raise ValueError(
            f"These are no params of a Gemma: {error} is missing."
        ) from None
    is_gemma3 = "layer_0/attn/query_norm" in weights
    is_gemma2 = "layer_0/post_attention_norm" in weights
    family = "gemma3" if is_gemma3 else "gemma2" if is_gemma2 else "gemma"
    return config_from_sizes(family, sizes)
