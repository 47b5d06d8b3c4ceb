"""Root-mean-square normalisation."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def rms_norm(
    x: Float[Array, "*B D"], scale: Float[Array, "D"], *, eps: float
) -> Float[Array, "*B D"]:
    """Returns `x / rms(x) * (1 + scale)`, computed in float32, in the dtype of `x`.

    The weight is stored around zero (Gemma 1, 2 and 3). It multiplies before the
    result is cast down, unlike in Llama.

    Reference: Zhang and Sennrich 2019, "Root Mean Square Layer Normalization".
    """
    x32 = x.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(x32), axis=-1, keepdims=True)
    gain = jnp.broadcast_to(1.0 + scale.astype(jnp.float32), x.shape)
    return (x32 * jax.lax.rsqrt(mean_square + eps) * gain).astype(x.dtype)
