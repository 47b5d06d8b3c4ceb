"""The outline of a packed head, through which the next token is looked for."""

import jax
import jax.numpy as jnp
import numpy as np

from gemma.gm.kernels import Screen, make_outline, outline_shape, screens_are_used
from gemma.gm.nn import head_of
from gemma.gm.typing import Params
from gemma.gm.weights import QuantizedArray


def head_screen(params: Params, outline: np.ndarray | None = None) -> Screen | None:
    """Returns the screen of a packed head, where there are kernels to use it.

    Args:
      params: Params of a model.
      outline: The outline of the head, if there is one already.
    """
    table = head_of(params["embedder"])
    if not (isinstance(table, QuantizedArray) and screens_are_used()):
        return None
    if outline is None:
        outline = make_outline(np.asarray(table.tiles), table.kind, table.num_columns)
    return jax.device_put(outline)


def screen_struct(params: Params) -> jax.ShapeDtypeStruct | None:
    """Returns what `head_screen` would, as a shape."""
    table = head_of(params["embedder"])
    if not (isinstance(table, QuantizedArray) and screens_are_used()):
        return None
    shape = outline_shape(table.num_rows, table.num_columns)
    return jax.ShapeDtypeStruct(shape, jnp.uint8)
