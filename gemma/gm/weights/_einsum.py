"""The one dispatch point: every product of an activation and a weight is here.

Model code never asks what kind of weight it holds, nor how it is multiplied.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gemma.gm import kernels
from gemma.gm.typing import DType
from gemma.gm.weights._quantized_array import QuantizedArray


def einsum(
    spec: str,
    x: Float[Array, "..."],
    w: Array | QuantizedArray,
    *,
    out_dtype: DType | None = None,
) -> Float[Array, "..."]:
    """Returns the product of activations with a weight stored `[out..., in...]`.

    `einsum("BLD,NHD->BLNH", x, w)` sums over the axes that end both operands. The
    product is made as `[rows, in] x [out, in]`, whatever the number of axes: XLA on
    CPU transposes a weight of three axes in every call, at a twentieth of the speed.

    Args:
      spec: Letters of x, of w and of the result, which must be those of x then those
        of w without the summed ones.
      x: Activations.
      w: A weight: an array of any dtype, which is converted to that of `x`, or packed.
      out_dtype: Dtype of the result, if not that of `x`.
    """
    return einsums(spec, x, (w,), out_dtype=out_dtype)[0]


def einsums(
    spec: str,
    x: Float[Array, "..."],
    ws: Sequence[Array | QuantizedArray],
    *,
    out_dtype: DType | None = None,
) -> tuple[Float[Array, "..."], ...]:
    """Returns the product of the same activations with each of several weights.

    The same as `einsum` for each; a kernel prepares the activations once.

    Args:
      spec: See `einsum`; letters of an axis may stand for other sizes in each weight.
      x: Activations.
      ws: Weights.
      out_dtype: Dtype of the results, if not that of `x`.
    """
    num_in = _num_summed_axes(spec)
    rows, summed = x.shape[: x.ndim - num_in], x.shape[x.ndim - num_in :]
    x_RK, dtype = x.reshape(-1, math.prod(summed)), out_dtype or x.dtype
    packed = [w for w in ws if isinstance(w, QuantizedArray)]
    from_packed = iter(
        kernels.quantized_matmul(x_RK, *(w.packed for w in packed)) if packed else ()
    )
    products = (
        next(from_packed).astype(dtype)
        if isinstance(w, QuantizedArray)
        else _matmul(x_RK, w, dtype)
        for w in ws
    )
    return tuple(
        product.reshape(rows + w.shape[: w.ndim - num_in])
        for product, w in zip(products, ws, strict=True)
    )


def _matmul(
    x_RK: Float[Array, "R K"], w: Array, out_dtype: DType
) -> Float[Array, "R N"]:
    w_NK = w.reshape(-1, x_RK.shape[1])
    if kernels.available() and x_RK.dtype == jnp.float32 and is_narrow(w.dtype):
        return kernels.float_matmul(x_RK, w_NK).astype(out_dtype)
    return jax.lax.dot_general(
        x_RK,
        w_NK.astype(x_RK.dtype),
        dimension_numbers=(((1,), (1,)), ((), ())),
        preferred_element_type=out_dtype,
    )


def is_narrow(dtype: DType) -> bool:
    """Returns whether these are floats of 16 bits, which XLA on a CPU reads slowly."""
    return dtype in (jnp.bfloat16, jnp.float16)


def _num_summed_axes(spec: str) -> int:
    """Returns how many trailing letters x and w share; refuses any other spec."""
    operands, _, result = spec.partition("->")
    x_axes, _, w_axes = operands.partition(",")
    num = sum(letter not in result for letter in x_axes)
    fits = (
        num > 0
        and x_axes[-num:] == w_axes[-num:]
        and result == x_axes[:-num] + w_axes[:-num]
    )
    if not fits:
        raise ValueError(
            f"einsum cannot do {spec!r}: the axes to sum over must end both x and w, "
            "as in 'BLD,NHD->BLNH'."
        )
    return num


def take(w: Array | QuantizedArray, ids: Int[Array, "..."]) -> Float[Array, "... D"]:
    """Returns the rows of a weight [V, D]: the embedding of each token."""
    if isinstance(w, QuantizedArray):
        rows = jnp.clip(ids.reshape(-1), 0, w.num_rows - 1)
        return kernels.dequantize_rows(w.packed, rows).reshape(*ids.shape, -1)
    # XLA on a CPU takes rows of bfloat16 from a table made float32. Fused with the taking
    # that costs nothing, but it moves what no step changes out of a loop: 671 MB written
    # and read for Gemma 3 270M's. Behind the barrier the table hangs on the ids.
    table, ids = jax.lax.optimization_barrier((w, ids))
    return jnp.take(table, ids, axis=0, mode="clip")
