"""Keys and values of the tokens before, as a growing cache."""

from typing import Any

import jax
import jax.numpy as jnp

from gemma.gm import nn
from gemma.gm.typing import Cache, Params

_FIRST_LENGTH = 64


class DynamicCache:
    """What `past_key_values` is: forward passes add to it, and it grows as they need.

    Attributes:
      arrays: The cache of `gm.nn`; None before the first tokens.
    """

    def __init__(self) -> None:
        self.arrays: Cache | None = None
        self._num_columns = 0
        self._length = 0

    def __repr__(self) -> str:
        return f"DynamicCache({self._num_columns} columns)"

    def get_seq_length(self) -> int:
        """Returns how many columns have passed, padding too."""
        return self._num_columns

    def room_for(
        self, model: nn.Transformer, params: Params, num_rows: int, num_columns: int
    ) -> Cache:
        """Returns the arrays, with room for so many columns more.

        Args:
          model: The model.
          params: Its params, which say of what dtype keys and values are.
          num_rows: B.
          num_columns: How many columns come.
        """
        needed, length = self._num_columns + num_columns, self._length or _FIRST_LENGTH
        while length < needed:
            length *= 2
        if self.arrays is None:
            dtype = model.cache_dtype(params)
            self.arrays = model.init_cache(
                batch_size=num_rows, cache_length=length, dtype=dtype
            )
        elif length > self._length:
            self.arrays = nn.grow_cache(model.config, self.arrays, length)
        self._length = length
        if self.arrays["end"].shape[0] != num_rows:
            raise ValueError(
                f"past_key_values has {self.arrays['end'].shape[0]} rows, and the "
                f"input {num_rows}."
            )
        return self.arrays

    def take(self, arrays: Cache, num_columns: int) -> None:
        """Takes the arrays that a forward pass returned for so many columns."""
        self.arrays = arrays
        self._num_columns += num_columns

    def select(self, rows: Any) -> None:
        """Keeps these rows, in this order; a row may be kept several times.

        Args:
          rows: Numbers of rows.
        """
        if self.arrays is not None:
            kept = jnp.asarray(rows)
            self.arrays = jax.tree.map(lambda array: array[kept], self.arrays)

    reorder_cache = batch_select_indices = select
