"""Ways of choosing tokens that callers write, as for DeepMind's library."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gemma.gm.text._draw import AnyArray
from gemma.gm.text._sampling import Sampling


class SamplingMethod(abc.ABC):
    """A way of one's own to choose tokens: a frozen dataclass with one method.

    It is compiled, once for each value of it. What `gm.text.Sampling` has need not be
    written anew.

    Example:
      ```python
      @dataclasses.dataclass(frozen=True)
      class Typical(gm.text.SamplingMethod):
          temperature: float = 1.0

          def get_next_tokens(self, logits, rng):
              return jax.random.categorical(rng, logits / self.temperature)
      ```
    """

    @abc.abstractmethod
    def get_next_tokens(
        self, logits: Float[Array, "*B V"], rng: jax.Array
    ) -> Int[Array, "*B"]:
        """Returns the next token of each row.

        Args:
          logits: The model's, float32; -inf for tokens that may not come.
          rng: A key, another one for each row and step.
        """


# For all rows, or, of the first kind, one a row.
ChosenSampling: TypeAlias = Sampling | SamplingMethod | Sequence[Sampling]
# "model" is what the files of the checkpoint recommend.
AnySampling: TypeAlias = ChosenSampling | Literal["model"]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class CustomSampling:
    """A caller's method, as part of a program.

    Attributes:
      method: What has `get_next_tokens(logits, rng)`.
    """

    method: Any

    def __post_init__(self):
        try:
            hash(self.method)
        except TypeError:
            raise TypeError(
                f"sampling is a {type(self.method).__name__}, which has no hash: "
                "programs are compiled for each value of it. Make it a dataclass with "
                "frozen=True, of numbers and strings."
            ) from None

    def next_tokens(
        self,
        logits: Float[Array, "B V"],
        seeds: AnyArray,
        positions: Int[Array, "B"],
    ) -> Int[Array, "B"]:
        """Returns the next token of each row, whatever the rest of the batch.

        Args:
          logits: Scores; -inf forbids a token.
          seeds: The seed of each row.
          positions: The place that each token will take in its sequence.
        """

        def one(row: Array, seed: AnyArray, position: Array) -> Array:
            key = jax.random.fold_in(jax.random.key(seed), position)
            # A batch of one: some methods name the axis.
            chosen = self.method.get_next_tokens(row[None], key)
            return self._checked(chosen).reshape(())

        return jax.vmap(one)(logits, seeds, positions)

    def _checked(self, chosen: Any) -> Array:
        shape, dtype = getattr(chosen, "shape", None), getattr(chosen, "dtype", None)
        if shape != (1,) or dtype is None or not jnp.issubdtype(dtype, jnp.integer):
            raise TypeError(
                f"{type(self.method).__name__}.get_next_tokens returned {dtype} of "
                f"shape {shape} for logits [1, V]; an integer array of shape (1,) is "
                "needed, a token a row."
            )
        return chosen.astype(jnp.int32)


def is_custom(sampling: Any) -> bool:
    """Whether this is a caller's way of choosing tokens."""
    return callable(getattr(sampling, "get_next_tokens", None))
