"""Products with weights of plain numbers: C++ on a CPU, XLA elsewhere.

XLA on a CPU reads bfloat16 at a thirtieth of the speed of memory; the C++ reads it where
it lies, at the speed of memory, and widens it in registers.

Axes: N rows of the weight (outputs), K columns, R rows of activations.
"""

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, Float32

from gemma.gm.kernels._on_cpu import XLA_HAS_KERNELS


@jax.custom_jvp
def float_matmul(
    x: Float32[Array, "R K"], w: Float[Array, "N K"]
) -> Float32[Array, "R N"]:
    """Returns `x w^T`; derivatives are those of the same formula in XLA.

    On a CPU with kernels no second copy of the weight is made, and a row of the result
    does not depend on the other rows, to the last bit.

    Args:
      x: Activations.
      w: Weight: float32, float16 or bfloat16.
    """
    if not XLA_HAS_KERNELS:
        return _reference(x, w)
    return jax.lax.platform_dependent(x, w, cpu=_call, default=_reference)


def _tangent(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (x, w), (dx, dw) = primals, tangents
    out = float_matmul(x, w)
    d_out = jnp.zeros_like(out)
    # Who trains an adapter does not pay for the derivative by the weight.
    if not isinstance(dx, SymbolicZero):
        d_out += _reference(dx, w)
    if not isinstance(dw, SymbolicZero):
        d_out += _reference(x, dw)
    return out, d_out


float_matmul.defjvp(_tangent, symbolic_zeros=True)


def _call(x: Float32[Array, "R K"], w: Float[Array, "N K"]) -> Float32[Array, "R N"]:
    out = jax.ShapeDtypeStruct((x.shape[0], w.shape[0]), jnp.float32)
    return jax.ffi.ffi_call("gemma_float_matmul", out, vmap_method="sequential")(x, w)


def _reference(
    x: Float32[Array, "R K"], w: Float[Array, "N K"]
) -> Float32[Array, "R N"]:
    return jax.lax.dot_general(
        x,
        w.astype(x.dtype),
        dimension_numbers=(((1,), (1,)), ((), ())),
        preferred_element_type=jnp.float32,
    )
