"""Attention masks with an entry for each pair of tokens, as transformers takes them.

Axes: B batch, L length.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from gemma.hf._arrays import to_jax

# What is added to a score so that nothing is left of it is far below this.
_HIDDEN = -1e4


def read_seen(
    attention_mask: Any, num_rows: int, length: int, *, has_past: bool
) -> jax.Array:
    """Returns True where a token may look at another, [B, L, L].

    Args:
      attention_mask: [B, 1, L, L], or with 1 for B: True where a token may look, or what
        is added to the scores, 0 there and a great negative number elsewhere.
      num_rows: B.
      length: L.
      has_past: Whether the tokens follow others.

    Raises:
      TypeError: It holds whole numbers, of which transformers makes no mask either.
      ValueError: Its shape is another, it holds other numbers, or there are tokens before.
    """
    mask = to_jax(attention_mask)
    if has_past:
        raise ValueError(
            "An attention_mask of four axes goes over whole sequences: pass no "
            "past_key_values, or a mask of two axes."
        )
    if mask.shape not in {(rows, 1, length, length) for rows in (1, num_rows)}:
        raise ValueError(
            f"attention_mask has shape {mask.shape} for {num_rows} rows of {length} "
            f"tokens; with four axes it is [{num_rows}, 1, {length}, {length}]."
        )
    if jnp.issubdtype(mask.dtype, jnp.floating):
        seen = mask == 0
        is_known = (seen | (mask <= _HIDDEN)).all()
        if not isinstance(is_known, Tracer) and not is_known:
            raise ValueError(
                "attention_mask holds numbers between 0 and -10,000. What is added to "
                "scores can hide a token, with -inf or the least number of the dtype, or "
                "leave it, with 0; no biases."
            )
    elif mask.dtype == jnp.bool_:
        seen = mask
    else:
        raise TypeError(
            f"attention_mask of four axes has dtype {mask.dtype}; bool is needed, or "
            "floats that are added to the scores."
        )
    return jnp.broadcast_to(seen[:, 0], (num_rows, length, length))
