"""Pointwise non-linearities."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns GELU in its tanh form, the one all Gemma models were trained with.

    `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.

    Reference: Hendrycks and Gimpel 2016, "Gaussian Error Linear Units".
    """
    return jax.nn.gelu(x, approximate=True)


def softcap(x: Float[Array, "..."], cap: float) -> Float[Array, "..."]:
    """Returns `cap * tanh(x / cap)`: smooth clipping to (-cap, cap).

    Reference: Gemma 2 report, section 2 (logit soft-capping).
    """
    return cap * jnp.tanh(x / cap)
