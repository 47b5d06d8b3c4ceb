"""Root-mean-square norm with the sum that follows it, in one pass over memory.

XLA on a CPU makes four or five small programs of it, each with a cost of its own.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gemma.gm import math
from gemma.gm.kernels._on_cpu import on_cpu


def rms_norm(
    x: Float[Array, "*B D"],
    scale: Float[Array, "D"],
    *,
    eps: float,
    residual: Float[Array, "*B D"] | None = None,
) -> Float[Array, "*B D"]:
    """Returns `math.rms_norm`, plus the residual if there is one."""

    def reference(x: Array, scale: Array, *residual: Array) -> Array:
        y = math.rms_norm(x, scale, eps=eps)
        return residual[0] + y if residual else y

    def call(x: Array, scale: Array, *residual: Array) -> Array:
        rows = [array.reshape(-1, x.shape[-1]) for array in (x, *residual)]
        none = jnp.zeros([0, x.shape[-1]], jnp.float32)
        out = jax.ShapeDtypeStruct(rows[0].shape, jnp.float32)
        norm = jax.ffi.ffi_call("gemma_rms_norm", out, vmap_method="sequential")
        y = norm(rows[0], scale, (*rows, none)[1], epsilon=np.float32(eps))
        return y.reshape(x.shape)

    arrays = (x,) if residual is None else (x, residual)
    if any(array.dtype != jnp.float32 for array in arrays) or x.size == 0:
        return reference(x, scale, *arrays[1:])
    return on_cpu(call, reference)(x, scale.astype(jnp.float32), *arrays[1:])
