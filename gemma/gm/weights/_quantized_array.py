"""A weight of a few bits, which is multiplied without ever being unpacked in memory."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gemma.gm.kernels import PackedKind, PackedWeight, dequantize, packed_shape
from gemma.gm.typing import DType


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class QuantizedArray:
    """A packed weight; stands in a params tree where an array would.

    Attributes:
      tiles: Its bytes, uint8: see `kernels.pack`.
      kind: How it is packed.
      shape: Shape of the array it stands for.
      num_out_axes: How many leading axes of `shape` are outputs.
    """

    # An array; in a tree that JAX maps over, whatever it maps it to.
    tiles: Any
    kind: PackedKind = dataclasses.field(metadata={"static": True})
    shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    num_out_axes: int = dataclasses.field(metadata={"static": True})

    @property
    def num_rows(self) -> int:
        """How many outputs there are."""
        return math.prod(self.shape[: self.num_out_axes])

    @property
    def num_columns(self) -> int:
        """How many inputs each output sums over."""
        return math.prod(self.shape[self.num_out_axes :])

    @property
    def ndim(self) -> int:
        """Number of axes of the array it stands for."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values of the array it stands for."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """What it is computed with."""
        return np.dtype(jnp.float32)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return math.prod(self.tiles.shape)

    @property
    def packed(self) -> PackedWeight:
        """The matrix [rows, columns] that kernels take."""
        return PackedWeight(self.tiles, self.kind, self.num_rows, self.num_columns)

    def filled(self, tiles: np.ndarray) -> "QuantizedArray":
        """Returns the array with these bytes, still those of numpy."""
        return dataclasses.replace(self, tiles=tiles)

    def dequantize(self, dtype: DType = jnp.float32) -> jax.Array:
        """Returns the array it stands for."""
        return _dequantize(self, dtype)


@functools.partial(jax.jit, static_argnames="dtype")
def _dequantize(weight: QuantizedArray, dtype: DType) -> jax.Array:
    """Compiled, since each of its steps would leave a copy in memory."""
    return dequantize(weight.packed).reshape(weight.shape).astype(dtype)


def quantized_struct(
    kind: PackedKind, shape: tuple[int, ...], num_out_axes: int
) -> QuantizedArray:
    """Returns a QuantizedArray of `jax.ShapeDtypeStruct`, for tracing."""
    rows = math.prod(shape[:num_out_axes])
    stored = packed_shape(kind, rows, math.prod(shape[num_out_axes:]))
    tiles = jax.ShapeDtypeStruct(stored, jnp.uint8)
    return QuantizedArray(tiles, kind, shape, num_out_axes)
