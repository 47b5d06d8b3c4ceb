"""Tensors as they lie in the GGUF files that we write."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import gguf
import ml_dtypes
import numpy as np

from gemma.gm.ckpts._gguf import EMBEDDING, HEAD
from gemma.gm.ckpts._gguf_blocks import Type, block_of
from gemma.gm.ckpts._names import Entry
from gemma.gm.ckpts._names_gguf import names_gguf
from gemma.gm.ckpts._names_vision import vision_names_gguf
from gemma.gm.nn import Transformer
from gemma.gm.weights import flatten

GgufType = Literal["F32", "F16", "BF16", "Q8_0", "Q4_0"]
# Quantizing takes several times the memory of what it is given.
_SLICE_ELEMENTS = 1 << 22


class TensorToWrite(NamedTuple):
    """Which of our weights a tensor is, and how it lies in the file."""

    ours: str
    entry: Entry
    shape: tuple[int, ...]
    type: Type

    @property
    def num_bytes(self) -> int:
        """Bytes in the file."""
        _, num_values, num_bytes = block_of(self.type)
        return math.prod(self.shape) // num_values * num_bytes

    def rows(self, weight: np.ndarray) -> np.ndarray:
        """Returns the values for the file, a matrix of float32."""
        values = self.entry.to_theirs(np.asarray(weight, np.float32))
        if self.entry.offset:
            values = values - np.float32(self.entry.offset)
        return values.reshape(-1, self.shape[-1])

    def encoded(self, weight: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the bytes for the file, some rows at a time: uint8.

        Raises:
          ValueError: The type cannot hold a value.
        """
        rows = self.rows(weight)
        for part in _slices(rows):
            yield _encode(rows[part], self).view(np.uint8)


def plan_tensors(model: Transformer, type: GgufType) -> list[TensorToWrite]:
    """Returns the tensors of a model without its eyes, in the order of the file."""
    return _plan(model, names_gguf(model.config), type)


def plan_eyes(model: Transformer, type: GgufType) -> list[TensorToWrite]:
    """Returns the tensors of the eyes; none if there are no eyes."""
    return _plan(model, _names_of_eyes(model), type)


def gguf_rounded(
    model: Transformer, ours: str, weight: np.ndarray, type: GgufType
) -> np.ndarray:
    """Returns what is read of a weight in a file of `save_gguf`.

    Args:
      model: The model.
      ours: Our name of the weight.
      weight: Its values, or some rows of a matrix, [outputs, inputs]: float32.
      type: What the file was written as.
    """
    entry = (names_gguf(model.config) | _names_of_eyes(model))[ours]
    if weight.ndim == 2:
        entry = dataclasses.replace(entry, num_out_axes=1)
    tensor = _tensor_of(ours, entry, weight.shape, type)
    rows = tensor.rows(weight)
    read = np.empty(rows.shape, np.float32)
    for part in _slices(rows):
        read[part] = _decode(_encode(rows[part], tensor), tensor.type)
    if tensor.entry.offset:
        read += np.float32(tensor.entry.offset)
    return tensor.entry.from_theirs(read.reshape(tensor.shape), weight.shape)


def _names_of_eyes(model: Transformer) -> dict[str, Entry]:
    vision = model.config.vision
    return {} if vision is None else vision_names_gguf(vision, shapes={})


def _plan(
    model: Transformer, names: Mapping[str, Entry], type: str
) -> list[TensorToWrite]:
    """Returns the tensors of a file, in its order."""
    specs = flatten(model.specs())
    return [
        _tensor_of(ours, entry, specs[ours].shape, type)
        for ours, entry in names.items()
    ]


def _tensor_of(
    ours: str, entry: Entry, our_shape: tuple[int, ...], type: str
) -> TensorToWrite:
    shape = entry.their_shape(our_shape)
    return TensorToWrite(ours, entry, shape, _type_of(entry.name, shape, Type[type]))


def _type_of(name: str, shape: tuple[int, ...], wanted: Type) -> Type:
    """Returns what a tensor becomes: llama.cpp wants some of them whole."""
    is_outside_layers = name.startswith(("v.", "mm.")) and not name.startswith("v.blk.")
    if len(shape) == 1 or is_outside_layers:
        return Type.F32
    if name in (EMBEDDING, HEAD) and wanted is Type.Q4_0:
        wanted = Type.Q8_0
    return Type.F16 if shape[-1] % block_of(wanted).num_values else wanted


def _slices(rows: np.ndarray) -> Iterator[slice]:
    """Returns runs of rows that are small beside a large matrix."""
    step = max(1, _SLICE_ELEMENTS // rows.shape[1])
    return (slice(begin, begin + step) for begin in range(0, len(rows), step))


def _encode(rows: np.ndarray, tensor: TensorToWrite) -> np.ndarray:
    """Returns rows as they lie in the file, in one run of memory."""
    if tensor.type is Type.F32:
        return np.ascontiguousarray(rows)
    if tensor.type is Type.BF16:
        return rows.astype(ml_dtypes.bfloat16)
    if tensor.type is not Type.F16:
        return gguf.quants.quantize(rows, gguf.GGMLQuantizationType(tensor.type))
    with np.errstate(over="ignore"):
        narrow = rows.astype(np.float16)
    if np.isinf(narrow).any():
        raise ValueError(
            f"Weight {tensor.ours!r} has values up to {np.abs(rows).max():.3g}, and "
            "F16 ends at 65,504. Write BF16 or F32."
        )
    return narrow


def _decode(packed: np.ndarray, type: Type) -> np.ndarray:
    """Returns the values of encoded rows."""
    if type in (Type.F32, Type.F16, Type.BF16):
        return packed.astype(np.float32)
    return gguf.quants.dequantize(packed, gguf.GGMLQuantizationType(type))
