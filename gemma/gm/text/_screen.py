"""The outline of a packed head, through which the next token is looked for."""

import jax
import jax.numpy as jnp

from gemma.gm.kernels import (
    Outline,
    Screen,
    make_outline,
    make_screen,
    screens_are_used,
)
from gemma.gm.typing import Params
from gemma.gm.weights import QuantizedArray


def head_screen(params: Params, outline: Outline | None = None) -> Screen | None:
    """Returns the screen of a packed head, where there are kernels to use it.

    Args:
      params: Params of a model.
      outline: The outline of the head, if there is one already.
    """
    table = params["embedder"]["input_embedding"]
    if not isinstance(table, QuantizedArray):
        return None
    if not screens_are_used():
        return None
    if outline is None:
        outline = make_outline(table.host_arrays, table.kind)
    return make_screen(outline)


def screen_struct(params: Params) -> Screen | None:
    """Returns what `head_screen` would, as shapes."""
    table = params["embedder"]["input_embedding"]
    if not (isinstance(table, QuantizedArray) and screens_are_used()):
        return None
    tiles, groups = table.scales.shape[:2]
    structs = (jax.ShapeDtypeStruct((tiles, groups, n), jnp.uint8) for n in (256, 32))
    return Screen(*structs)  # pyright: ignore
