"""A model becomes a directory that DeepMind's library can load."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from gemma.gm.ckpts._belongings import copy_belongings
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
from gemma.gm.ckpts._unfinished import whole_folder
from gemma.gm.nn import Transformer
from gemma.gm.typing import DType


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
    from gemma.gm.ckpts._orbax_arrays import LazyArray, write_arrays

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
        text = json.dumps(config_to_json(model.config, written.name), indent=2)
        (folder / "config.json").write_text(text + "\n")
        copy_belongings(model, folder)
        for name, content in files.items():
            (folder / name).write_bytes(content)
