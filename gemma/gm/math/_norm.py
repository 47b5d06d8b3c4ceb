"""The norms: by the root mean square (Gemma), by mean and variance (SigLIP)."""

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


def layer_norm(
    x: Float[Array, "*B D"],
    scale: Float[Array, "D"],
    bias: Float[Array, "D"],
    *,
    eps: float,
) -> Float[Array, "*B D"]:
    """Returns `(x - mean(x)) / std(x) * scale + bias`, in float32, in the dtype of `x`.

    The weight is stored around one, as it is used.

    Reference: Ba et al. 2016, "Layer Normalization".
    """
    x32 = x.astype(jnp.float32)
    centered = x32 - jnp.mean(x32, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centered), axis=-1, keepdims=True)
    gain = jnp.broadcast_to(scale.astype(jnp.float32), x.shape)
    shift = jnp.broadcast_to(bias.astype(jnp.float32), x.shape)
    return (centered * jax.lax.rsqrt(variance + eps) * gain + shift).astype(x.dtype)
