"""Ids and labels must be within what a model has: rows of its embedding, scores.

JAX reads past the end of a table without an error. Values under `jax.jit` and the like
are not known yet and cannot be looked at.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gemma.gm import losses, text
from gemma.gm.nn import Transformer
from gemma.hf._arrays import to_jax


def require_rows(
    ids: jax.Array | np.ndarray, model: Transformer, *, has_images: bool = False
) -> None:
    """Refuses ids that the embedding has no row for, those of padding too.

    Args:
      ids: Token ids.
      model: The model.
      has_images: Whether images take the place of the soft tokens among the ids.

    Raises:
      ValueError: There is such an id.
    """
    if isinstance(ids, Tracer):
        return
    num_rows, vision = model.config.vocab_size, model.config.vision
    found = np.asarray(ids)
    is_outside = (found < 0) | (found >= num_rows)
    if has_images and vision is not None:
        is_outside &= found != vision.soft_token
    if is_outside.any():
        token_id = int(found[is_outside][0])
        raise ValueError(
            f"input_ids have {_named(token_id, model.checkpoint)}, and the embedding has "
            f"rows for 0 to {num_rows - 1}. Use the tokenizer of this model, and "
            "attention_mask for padding; for tokens that were added, "
            "model.resize_token_embeddings(len(tokenizer))."
        )


def read_labels(labels: Any, shape: tuple[int, ...], num_labels: int) -> jax.Array:
    """Returns labels as an array of whole numbers.

    Args:
      labels: Labels; -100 where the loss does not count.
      shape: The shape they must have.
      num_labels: How many there are, or tokens of a vocabulary.

    Raises:
      TypeError: They are no whole numbers.
      ValueError: They have another shape, or one is out of range.
    """
    found = to_jax(labels)
    if not jnp.issubdtype(found.dtype, jnp.integer):
        raise TypeError(f"labels have dtype {found.dtype}; whole numbers are needed.")
    if found.shape != shape:
        raise ValueError(f"labels have shape {found.shape}; {shape} is needed.")
    if isinstance(found, Tracer):
        return found
    values = np.asarray(found)
    is_known = (values == losses.IGNORED) | ((values >= 0) & (values < num_labels))
    if not is_known.all():
        raise ValueError(
            f"labels have {values[~is_known][0]}; they go from 0 to {num_labels - 1}, "
            f"and {losses.IGNORED} is for what does not count."
        )
    return found


def _named(token_id: int, checkpoint: Path | None) -> str:
    """Returns an id, with its piece if the model's tokenizer is at hand."""
    try:
        if checkpoint is not None and token_id >= 0:
            piece = text.Tokenizer.from_path(checkpoint).piece(token_id)
            return f"{token_id} ({piece})"
    except (OSError, ValueError):
        pass
    return str(token_id)
