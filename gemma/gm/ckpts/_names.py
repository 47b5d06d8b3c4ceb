"""What a name table says: which tensor of a file is which of our weights."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

# Far above any model's, and far below what fills the memory with configs.
_MAX_LAYERS, _MAX_SIZE = 1000, 2**30


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One weight of ours in somebody else's file.

    Attributes:
      name: Its name there.
      num_out_axes: How many of our axes their first axis holds: 2 for our `(N, H, D)`
        stored as `[N * H, D]`.
      offset: What to add to their numbers to get ours.
    """

    name: str
    num_out_axes: int = 1
    offset: float = 0.0

    def their_shape(self, ours: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape that the tensor must have in the file."""
        if len(ours) == 1:
            return ours
        outs, ins = ours[: self.num_out_axes], ours[self.num_out_axes :]
        return math.prod(outs), math.prod(ins)


def check_sizes(sizes: Mapping[str, Any]) -> None:
    """Refuses sizes that no model has, before anything is made of them.

    Args:
      sizes: What a file states, by our names; all but `norm_eps` are whole numbers.

    Raises:
      ValueError: One of them is absurd.
    """
    for name, size in sizes.items():
        if name == "norm_eps":
            continue
        limit = _MAX_LAYERS if name == "num_layers" else _MAX_SIZE
        if type(size) is not int or not 1 <= size <= limit:
            raise ValueError(
                f"{name} is {size!r}; it must be a whole number from 1 to {limit:,}."
            )
