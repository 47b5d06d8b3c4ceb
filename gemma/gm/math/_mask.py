"""Who sees whom.

Axes: B batch, L query length, S key length.
"""

from jaxtyping import Array, Bool, Int


def attention_mask(
    query_positions: Int[Array, "B L"],
    key_positions: Int[Array, "B S"],
    *,
    window: int | None = None,
) -> Bool[Array, "B L S"]:
    """Returns True where a query may look at a key: itself and what came before.

    Args:
      query_positions: Place of each query in its sequence.
      key_positions: Place of each key; negative where there is no key (padding, a
        cache slot not yet written).
      window: On sliding layers, the number of keys seen, the query's own included.
    """
    query, key = query_positions[:, :, None], key_positions[:, None, :]
    seen = (key >= 0) & (key <= query)
    if window is not None:
        seen &= key > query - window
    return seen
