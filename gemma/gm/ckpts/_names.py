"""What a name table says: which tensor of a file is which of our weights."""

import dataclasses
import math


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
