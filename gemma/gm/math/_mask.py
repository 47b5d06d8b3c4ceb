"""Who sees whom.

Axes: B batch, L query length, S key length.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


def attention_mask(
    query_positions: Int[Array, "B L"],
    key_positions: Int[Array, "B S"],
    *,
    window: int | None = None,
    last_seen: Int[Array, "B L"] | None = None,
    first_seen: Int[Array, "B L"] | None = None,
) -> Bool[Array, "B L S"]:
    """Returns True where a query may look at a key: itself and what came before.

    In an image, also at what follows of the image.

    Args:
      query_positions: Place of each query in its sequence.
      key_positions: Place of each key; negative where there is no key (padding, a
        cache slot not yet written).
      window: On sliding layers, the number of keys seen, the query's own included.
      last_seen: The last place that each query looks at, if that is not its own; see
        `ends_of_runs`.
      first_seen: The first place that each query looks at, where several documents
        stand in a row.
    """
    query, key = query_positions[:, :, None], key_positions[:, None, :]
    last = query if last_seen is None else last_seen[:, :, None]
    seen = (key >= 0) & (key <= last)
    if window is not None:
        seen &= key > query - window
    if first_seen is not None:
        seen &= key >= first_seen[:, :, None]
    return seen


def ends_of_runs(
    positions: Int[Array, "B L"], is_soft: Bool[Array, "B L"]
) -> Int[Array, "B L"]:
    """Returns the place where the run of soft tokens ends that a token is part of.

    Soft tokens of an image look at one another, whichever comes first. Of any other
    token, its own place is returned.
    """
    length = positions.shape[1]
    index = jnp.arange(length, dtype=jnp.int32)[None, :]
    next_other = jax.lax.cummin(jnp.where(is_soft, length, index), axis=1, reverse=True)
    ends = jnp.take_along_axis(positions, jnp.maximum(next_other - 1, 0), axis=1)
    return jnp.where(is_soft, ends, positions)
