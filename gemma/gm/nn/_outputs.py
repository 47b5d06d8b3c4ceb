"""What the model returns.

Axes: B batch, L length, S keys, D model width, N query heads, V vocabulary.
"""

from typing import NamedTuple

from jaxtyping import Array, Float

from gemma.gm.typing import Cache


class Output(NamedTuple):
    """What `Transformer.apply` returns.

    Attributes:
      logits: [B, L, V], or [B, V] with `last_only`; float32.
      cache: The cache with the new tokens, if one was given.
      hidden_states: With `return_hidden_states`: the scaled embeddings, the residual
        stream after each layer but the last, and the input of the head.
      attention_weights: With `return_attention_weights`: where each layer looked.
        With a cache, its slots come first, then the new tokens.
    """

    logits: Float[Array, "..."]
    cache: Cache | None = None
    hidden_states: tuple[Float[Array, "B L D"], ...] | None = None
    attention_weights: tuple[Float[Array, "B N L S"], ...] | None = None


class Features(NamedTuple):
    """What `Transformer.features` returns.

    Attributes:
      x: [B, L, D], or [B, D] with `last_only`: the last hidden state, normalised.
      cache: As in `Output`.
      hidden_states: As in `Output`.
      attention_weights: As in `Output`.
    """

    x: Float[Array, "..."]
    cache: Cache | None = None
    hidden_states: tuple[Float[Array, "B L D"], ...] | None = None
    attention_weights: tuple[Float[Array, "B N L S"], ...] | None = None
