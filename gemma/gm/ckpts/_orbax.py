"""DeepMind's checkpoints: our weights in a directory that Orbax wrote."""

import dataclasses
import json
import math
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._names import Entry, Layout
from gemma.gm.ckpts._names_huggingface import config_from_json
from gemma.gm.ckpts._names_orbax import (
    array_shapes,
    find_spelling,
    is_of_eyes,
    names_of_weights,
    places_orbax,
)
from gemma.gm.ckpts._orbax_config import config_from_shapes
from gemma.gm.ckpts._orbax_leaves import PlainArrays
from gemma.gm.kernels import PackedKind, empty_aligned, in_slices
from gemma.gm.nn import Transformer, TransformerConfig
from gemma.gm.typing import DType
from gemma.gm.weights import flatten, num_out_axes

# Any of them tells the directory; the oldest have arrays and nothing else.
_MARKS = ("_METADATA", "manifest.ocdbt", "*/.zarray", "transformer/*/.zarray")
_NARROW = ("bfloat16", "float16")
FLOATS = (*_NARROW, "float32", "float64")
# Compressed arrays are smaller than in memory, those of trained weights not by much.
_MAX_GROWTH, _ANY_GROWTH_BYTES = 64, 1 << 26


def find_orbax(path: Path) -> Path | None:
    """Returns the directory of arrays, given it or what it came in.

    That is the state of a training, which has it in `default/`, or an archive of Kaggle,
    which has it beside the tokenizer.
    """
    for folder in (path, path / "default"):
        if _is_orbax(folder):
            return folder
    if not path.is_dir() or (path / "config.json").exists():
        return None
    inside = [folder for folder in path.iterdir() if _is_orbax(folder)]
    return inside[0] if len(inside) == 1 else None


def _is_orbax(folder: Path) -> bool:
    return any(any(folder.glob(mark)) for mark in _MARKS)


class OrbaxTensors:
    """Our weights in a directory of Orbax, each a tensor of its own; a `TensorReader`.

    An array that holds several of them, such as keys and values, is read once and kept
    until another one is asked for, if they are asked for in the order of `names`.
    Optimizer states, and eyes that are not wanted, are not touched.
    """

    def __init__(self, folder: Path, *, text_only: bool = False):
        """Opens the directory and finds out which model it holds.

        Args:
          folder: Where the arrays are.
          text_only: Leave the eyes of a model out.

        Raises:
          CheckpointError: It does not hold a whole Gemma, or holds more.
        """
        from gemma.gm.ckpts._orbax_arrays import StoredArrays

        self.folder = folder
        stored = StoredArrays(folder)
        names = names_of_weights(stored.names, folder)
        self._arrays = PlainArrays(stored, names, folder)
        stated = _read_config(folder)
        if stated is not None and stated.vision is None:
            text_only = True
        shapes = self._read_shapes(text_only)
        spelling = find_spelling(shapes, folder)
        config = stated or config_from_shapes(shapes, spelling, folder)
        self.config = dataclasses.replace(config, vision=None) if text_only else config
        self._places = places_orbax(self.config, spelling)
        self._shapes = shapes_of(self.config)
        self._check(shapes)
        self._check_growth(shapes)
        self._ours = {place.name: ours for ours, place in self._places.items()}
        self._last: tuple[str, np.ndarray] | None = None
        self._lock = threading.Lock()

    @property
    def names(self) -> dict[str, Entry]:
        """Our weights among these tensors, those of one array together."""
        by_array = sorted(self._places.items(), key=lambda item: item[1].array)
        return {ours: Entry(p.name, layout=Layout.SAME) for ours, p in by_array}

    @property
    def files(self) -> list[Path]:
        """The directory."""
        return [self.folder]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each weight, in our layout."""
        return {name: self._shapes[ours] for name, ours in self._ours.items()}

    def file_of(self, name: str) -> Path:
        """Returns the directory."""
        return self.folder

    def dtype_of(self, name: str) -> np.dtype:
        """Returns float16 or bfloat16 for a tensor of such numbers, else float32."""
        stored = self._arrays.dtype(self._places[self._ours[name]].array)
        return stored if stored.name in _NARROW else np.dtype(np.float32)

    def packed_kind(self, name: str) -> PackedKind | None:
        """Returns None: all are plain numbers."""
        return None

    def read_packed(self, name: str) -> np.ndarray:
        """Never called, since nothing is packed."""
        raise ValueError(f"Array {name!r} in {self.folder} is not packed.")

    def read(self, name: str, dtype: DType) -> np.ndarray:
        """Returns one weight, converted to `dtype`."""
        weight, is_shared = self._view(name), self._is_shared(name)
        if not is_shared and weight.flags.c_contiguous and weight.dtype == dtype:
            self._last = None
            return weight
        out = empty_aligned(weight.shape, dtype)
        outs = weight.shape[: num_out_axes(self._ours[name])]
        rows = out.reshape(math.prod(outs), -1)

        def fill(begin: int, end: int) -> None:
            part = self.read_rows(name, begin, end)
            rows[begin:end] = part.reshape(end - begin, -1)

        in_slices(*rows.shape, fill)
        if not is_shared:
            self._last = None
        return out

    def read_rows(self, name: str, begin: int, end: int) -> np.ndarray:
        """Returns some rows of a matrix, in the dtype of the file."""
        weight = self._view(name)
        if num_out_axes(self._ours[name]) == 1:
            return weight[begin:end]
        # The rows of some heads, of which the first and last may be cut.
        head_dim = weight.shape[1]
        first, last = begin // head_dim, -(-end // head_dim)
        rows = weight[first:last].reshape(-1, *weight.shape[2:])
        return rows[begin - first * head_dim : end - first * head_dim]

    def _is_shared(self, name: str) -> bool:
        """Whether the array of a weight holds others too."""
        return bool(self._places[self._ours[name]].index)

    def _view(self, name: str) -> np.ndarray:
        place = self._places[self._ours[name]]
        # Rows are asked for by several threads at once.
        with self._lock:
            if self._last is None or self._last[0] != place.array:
                self._last = None  # so that memory does not hold two
                self._last = place.array, self._arrays.read(place.array)
            return place.part(self._last[1])

    def _read_shapes(self, text_only: bool) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each array that is a weight."""
        names = self._arrays.names
        if text_only:
            names = [name for name in names if not is_of_eyes(name)]
        return {name: self._arrays.shape(name) for name in names}

    def _check(self, found: Mapping[str, tuple[int, ...]]) -> None:
        """Refuses arrays that are not exactly those of the config."""
        model = f"a {self.config.family} of {self.config.num_layers} layers"
        needed = array_shapes(self._places, self._shapes)
        # First, since they tell that it is a model of another kind.
        for name in found:
            if name not in needed:
                raise CheckpointError(
                    f"{self.folder} holds array {name!r}, which is no part of {model}."
                )
        for name, shape in needed.items():
            if name not in found:
                hint = "; pass text_only=True for the text model" * is_of_eyes(name)
                raise CheckpointError(
                    f"{self.folder} lacks array {name!r}, which {model} needs{hint}."
                )
            what = f"Array {name!r} in {self.folder}"
            if found[name] != shape:
                raise CheckpointError(
                    f"{what} has shape {found[name]}; {model} needs {shape}."
                )
            if (dtype := self._arrays.dtype(name).name) not in FLOATS:
                raise CheckpointError(f"{what} is of {dtype}; floats can be read.")

    def _check_growth(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuses arrays that small files cannot be, before there is room for them."""
        paths = (path for path in self.folder.rglob("*") if path.is_file())
        num_bytes = sum(path.stat().st_size for path in paths)
        stated = sum(
            math.prod(shape) * self._arrays.dtype(name).itemsize
            for name, shape in shapes.items()
        )
        if stated > _ANY_GROWTH_BYTES + _MAX_GROWTH * num_bytes:
            raise CheckpointError(
                f"{self.folder} is damaged: it states arrays of {stated:,} bytes, but "
                f"its files have {num_bytes:,}."
            )


def _read_config(folder: Path) -> TransformerConfig | None:
    """Returns what config.json states, beside the arrays or beside `default/`."""
    places = [folder / "config.json"]
    if folder.name == "default":
        places.append(folder.parent / "config.json")
    path = next((place for place in places if place.exists()), None)
    if path is None:
        return None
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from None
    if not isinstance(stated, dict):
        raise CheckpointError(f"{path} does not hold a JSON object.")
    return config_from_json(stated, path)


def shapes_of(config: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each of our weights."""
    specs = flatten(Transformer(config).specs())
    return {ours: spec.shape for ours, spec in specs.items()}
