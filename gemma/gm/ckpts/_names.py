"""What a name table says: which tensor of a file is which of our weights."""

import dataclasses
import enum
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gemma.gm.nn import RopeConfig, TransformerConfig

# Far above any model's, and far below what fills the memory with configs.
_MAX_LAYERS, _MAX_SIZE = 1000, 2**30


class Layout(enum.Enum):
    """How a weight lies in somebody else's file."""

    MATRIX = "matrix"  # all outputs, all inputs
    TRANSPOSED = "transposed"  # the same the other way around
    FLAT = "flat"  # one axis
    SAME = "same"  # as ours


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One weight of ours in somebody else's file.

    Attributes:
      name: Its name there.
      num_out_axes: How many of our axes their first axis holds: 2 for our `(N, H, D)`
        stored as `[N * H, D]`.
      offset: What to add to their numbers to get ours.
      layout: How it lies there.
    """

    name: str
    num_out_axes: int = 1
    offset: float = 0.0
    layout: Layout = Layout.MATRIX

    def their_shape(self, ours: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape that the tensor must have in the file."""
        if len(ours) == 1 or self.layout is Layout.SAME:
            return ours
        if self.layout is Layout.FLAT:
            return (math.prod(ours),)
        outs, ins = ours[: self.num_out_axes], ours[self.num_out_axes :]
        shape = math.prod(outs), math.prod(ins)
        return shape[::-1] if self.layout is Layout.TRANSPOSED else shape

    def from_theirs(self, tensor: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Returns our weight of a tensor."""
        if self.layout is Layout.TRANSPOSED:
            tensor = np.ascontiguousarray(tensor.T)
        return tensor.reshape(shape)

    def to_theirs(self, weight: np.ndarray) -> np.ndarray:
        """Returns their tensor of a weight, without the offset."""
        shape = self.their_shape(weight.shape)
        if self.layout is Layout.TRANSPOSED:
            return np.ascontiguousarray(weight.reshape(shape[::-1]).T)
        return weight.reshape(shape)


def check_sizes(sizes: Mapping[str, Any]) -> None:
    """Refuses sizes that no model has, before anything is made of them.

    Args:
      sizes: What a file states, by our names; all but `norm_eps`, which is between 0
        and 1, are whole numbers.

    Raises:
      ValueError: One of them is absurd.
    """
    for name, size in sizes.items():
        if name == "norm_eps":
            if type(size) is not float or not 0 < size < 1:
                raise ValueError(f"{name} is {size!r}; it must be between 0 and 1.")
            continue
        limit = _MAX_LAYERS if name == "num_layers" else _MAX_SIZE
        if type(size) is not int or not 1 <= size <= limit:
            raise ValueError(
                f"{name} is {size!r}; it must be a whole number from 1 to {limit:,}."
            )


def check_config(config: TransformerConfig) -> None:
    """Refuses numbers that the formulas of a model have no use for.

    Raises:
      ValueError: One of them is absurd.
    """
    if config.final_softcap is not None:
        _require_positive("final_softcap", config.final_softcap)
    for layer in config.layers:
        if layer.is_local:
            check_sizes({"window": layer.window})
        if layer.attn_softcap is not None:
            _require_positive("attn_softcap", layer.attn_softcap)
        _require_positive("query_scale", layer.query_scale)
        _require_positive("The base of the rotation", layer.rope.theta)
        _require_positive("The stretch of the positions", layer.rope.factor)


def with_rope(config: TransformerConfig, rope: RopeConfig) -> TransformerConfig:
    """Returns a config in which all layers have these rotary positions."""
    layers = tuple(dataclasses.replace(layer, rope=rope) for layer in config.layers)
    return dataclasses.replace(config, layers=layers)


def _require_positive(name: str, value: Any) -> None:
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise ValueError(f"{name} is {value!r}; it must be a positive number.")


def short_decimal(value: float) -> float:
    """Returns the decimal that a float32 was written from: 1e-6, not 9.99999997e-7."""
    return float(f"{value:.6g}")
