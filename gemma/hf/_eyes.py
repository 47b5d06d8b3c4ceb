"""`pixel_values`: what goes into the eyes, and where what they see stands.

Axes: I images, S rows and columns of an image, T soft tokens of an image, B batch,
L length, D model width.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gemma.gm import vision
from gemma.gm.nn import TransformerConfig
from gemma.gm.typing import Params
from gemma.gm.vision import VisionConfig
from gemma.hf._arrays import is_torch, to_jax

# Of what lies between two levels of 8 bits; bfloat16 moves a pixel by a quarter.
_MAX_OFF_LEVEL = 0.3


def require_eyes(config: TransformerConfig) -> VisionConfig:
    """Returns the eyes of a model.

    Raises:
      ValueError: It has none.
    """
    if config.vision is None:
        raise ValueError(
            "The model has no eyes: its config has no vision_config. Leave pixel_values "
            "out, or load a Gemma 3 that sees, 4B or larger, with "
            "Gemma3ForConditionalGeneration."
        )
    return config.vision


def read_pixels(pixel_values: Any, config: VisionConfig) -> jax.Array:
    """Returns what a processor made of images, [I, 3, S, S].

    Raises:
      ValueError: They have another size or dtype.
    """
    pixels, size = to_jax(pixel_values), config.image_size
    is_float = jnp.issubdtype(pixels.dtype, jnp.floating)
    if pixels.ndim != 4 or pixels.shape[1:] != (3, size, size) or not is_float:
        raise ValueError(
            f"pixel_values are {pixels.dtype}{list(pixels.shape)}; the eyes need floats "
            f"from -1 to 1 of shape [images, 3, {size}, {size}], as the processor of "
            "transformers makes them."
        )
    return pixels


def to_levels(pixels: jax.Array) -> np.ndarray:
    """Returns the images of 8 bits that pixels were made of, [I, S, S, 3].

    Raises:
      ValueError: They were made of something else.
    """
    scaled = (np.asarray(pixels, np.float32) + 1) * 127.5
    levels = scaled.round()
    is_level = (abs(scaled - levels) < _MAX_OFF_LEVEL) & (levels >= 0) & (levels <= 255)
    if not is_level.all():
        raise ValueError(
            f"pixel_values hold {float(pixels[~is_level][0]):.4f}, which no image of 8 "
            "bits becomes: these are multiples of 2/255 from -1. generate takes what the "
            "processor of transformers makes; a forward pass takes any floats."
        )
    return levels.astype(np.uint8).transpose(0, 2, 3, 1)


@functools.partial(jax.jit, static_argnames="config")
def see(params: Params, config: VisionConfig, pixels: jax.Array) -> jax.Array:
    """Returns the soft tokens of each image, [I, T, D].

    Args:
      params: Weights of the eyes.
      config: The eyes.
      pixels: What `read_pixels` returned.
    """
    return vision.soft_tokens(params, config, pixels.transpose(0, 2, 3, 1))


def spread(soft: jax.Array, is_soft: jax.Array) -> jax.Array:
    """Returns the soft tokens where they stand, [B, L, D], and zeros elsewhere.

    Args:
      soft: What `see` returned.
      is_soft: Where soft tokens stand, [B, L].
    """
    vectors = soft.reshape(-1, soft.shape[-1])
    # Rows that there are too many of lie outside, and are dropped.
    places = jnp.nonzero(is_soft, size=len(vectors), fill_value=is_soft.size)
    empty = jnp.zeros((*is_soft.shape, soft.shape[-1]), soft.dtype)
    return empty.at[places].set(vectors, mode="drop")


def check_places(input_ids: Any, config: VisionConfig, num_images: int) -> None:
    """Raises ValueError unless there are as many soft tokens as images need.

    What is traced cannot be counted.
    """
    ids = _known(input_ids)
    if ids is None:
        return
    found, needed = int((ids == config.soft_token).sum()), config.tokens_per_image
    if found != num_images * needed:
        raise ValueError(
            f"input_ids have {found} soft tokens ({config.soft_token}), and pixel_values "
            f"{num_images} images: these need {num_images * needed}, {needed} each."
        )


def check_types(
    token_type_ids: Any, input_ids: Any, config: VisionConfig | None
) -> None:
    """Raises ValueError unless types say what the ids say: 1 for a soft token, else 0."""
    if token_type_ids is None:
        return
    types, ids = _known(token_type_ids), _known(input_ids)
    if types is None or ids is None:
        raise ValueError(
            "token_type_ids can be looked at only beside input_ids, and not under jax.jit: "
            "leave them out, since the soft tokens say where images are."
        )
    is_soft = np.zeros_like(ids) if config is None else ids == config.soft_token
    if types.shape != ids.shape or (types != is_soft).any():
        raise ValueError(
            "token_type_ids do not say what input_ids say: 1 for each soft token of an "
            "image, 0 for all others. Leave them out: the tokens of an image see one "
            "another, and no others do."
        )


def _known(array: Any) -> np.ndarray | None:
    """Returns an array whose values are known now."""
    if array is None or isinstance(array, Tracer):
        return None
    return np.asarray(array.detach().cpu() if is_torch(array) else array)
