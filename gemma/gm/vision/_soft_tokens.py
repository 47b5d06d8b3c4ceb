"""Images -> soft tokens: the tower, then the projector.

Axes: I images, S rows and columns of an image, T soft tokens, D model width.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from gemma.gm.typing import Params
from gemma.gm.vision._config import VisionConfig
from gemma.gm.vision._projector import project, projector_specs
from gemma.gm.vision._tower import tower, tower_specs


def vision_specs(config: VisionConfig, text_dim: int) -> dict[str, Any]:
    """Returns the weights of the eyes.

    Args:
      config: The tower.
      text_dim: Width of the text model.

    Example:
      >>> vision_specs(VisionConfig(), 2560)["projector"]["weight"].shape
      (2560, 1152)
    """
    return tower_specs(config) | {"projector": projector_specs(config, text_dim)}


def soft_tokens(
    params: Params,
    config: VisionConfig,
    images: Real[Array, "I S S 3"],
) -> Float[Array, "I T D"]:
    """Returns what stands for each image among the embeddings of a prompt, in float32.

    The images go through the tower one after another: memory does not grow with their
    number, and what an image becomes does not depend on the others.

    Args:
      params: Weights, as `vision_specs` declares them.
      config: The tower.
      images: Pixels, as `prepare_image` returns them; or floats, in which -1 is 0 and 1
        is 255.

    Raises:
      ValueError: The pixels have another size or dtype.
    """
    size = config.image_size
    is_known = images.dtype == jnp.uint8 or jnp.issubdtype(images.dtype, jnp.floating)
    if images.shape[1:] != (size, size, 3) or not is_known:
        raise ValueError(
            f"Images are {images.dtype}{list(images.shape)}; the tower needs "
            f"uint8[n, {size}, {size}, 3], or floats from -1 to 1. prepare_image makes "
            "the first of any image."
        )

    def see(
        image: Real[Array, "S S 3"],
    ) -> Float[Array, "T D"]:
        x_PW = tower(params, config, image)
        return project(params["projector"], config, x_PW)

    return jax.lax.map(see, images)
