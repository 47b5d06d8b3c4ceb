"""Soft tokens: where vectors of images stand among those of text.

Axes: B batch, L length, I images, T soft tokens of an image, D model width.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gemma.gm.nn._config import TransformerConfig


def soft_token(config: TransformerConfig) -> int:
    """Returns the id that stands for each vector of an image.

    Raises:
      ValueError: The model has no vision encoder.
    """
    if config.vision is None:
        raise ValueError("The model has no eyes: it reads text only.")
    return config.vision.soft_token


def spread(
    soft_ITD: Float[Array, "I T D"], is_soft: Bool[Array, "B L"]
) -> Float[Array, "B L D"]:
    """Returns the vector of each soft token where it stands, zeros elsewhere."""
    rows = soft_ITD.reshape(-1, soft_ITD.shape[-1])
    index = jnp.cumsum(is_soft.reshape(-1), dtype=jnp.int32).reshape(is_soft.shape) - 1
    spread = jnp.take(rows, index, axis=0, mode="clip")
    return jnp.where(is_soft[:, :, None], spread, 0.0)
