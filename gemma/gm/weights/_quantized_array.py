"""A weight of a few bits, which is multiplied without ever being unpacked in memory."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gemma.gm.kernels import Packed, PackedKind, PackedWeight, dequantize, packed_shapes
from gemma.gm.typing import DType


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class QuantizedArray:
    """A packed weight; stands in a params tree where an array would.

    Attributes:
      values: The bits of the values.
      scales: Scales of groups.
      supers: Scales of scales; None where scales stand alone.
      kind: How it is packed.
      shape: Shape of the array it stands for.
      num_out_axes: How many leading axes of `shape` are outputs.
    """

    # Arrays; in a tree that JAX maps over, whatever it maps them to.
    values: Any
    scales: Any
    supers: Any
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
        return sum(math.prod(array.shape) for array in jax.tree.leaves(self))

    @property
    def packed(self) -> PackedWeight:
        """The matrix [rows, columns] that kernels take."""
        return PackedWeight(
            self.values,
            self.scales,
            # An array of nothing would be one more argument of each program.
            self.scales if self.supers is None else self.supers,
            self.kind,
            self.num_rows,
            self.num_columns,
        )

    @property
    def host_arrays(self) -> Packed:
        """Its bytes, in numpy; on CPU without a copy."""
        values, scales = np.asarray(self.values), np.asarray(self.scales)
        if self.supers is None:
            shape = packed_shapes(self.kind, self.num_rows, self.num_columns)[2]
            return Packed(values, scales, np.empty(shape, np.uint8))
        return Packed(values, scales, np.asarray(self.supers))

    def filled(self, packed: Packed) -> "QuantizedArray":
        """Returns the array with these bytes, still those of numpy."""
        supers = packed.supers if self.kind.has_supers else None
        return dataclasses.replace(
            self, values=packed.values, scales=packed.scales, supers=supers
        )

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
    shapes = packed_shapes(kind, rows, math.prod(shape[num_out_axes:]))
    values, scales, supers = (jax.ShapeDtypeStruct(s, jnp.uint8) for s in shapes)
    return QuantizedArray(
        values, scales, supers if kind.has_supers else None, kind, shape, num_out_axes
    )
