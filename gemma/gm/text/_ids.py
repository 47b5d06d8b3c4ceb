"""Token ids that callers pass."""

import numpy as np
import numpy.typing as npt


def checked_ids(ids: npt.ArrayLike, vocab_size: int) -> list[int]:
    """Returns one id, or a sequence of them, as numbers of Python.

    Raises:
      TypeError: They are no whole numbers.
      ValueError: They have more than one axis, or one is outside the vocabulary.
    """
    array = np.asarray(ids)
    if array.ndim > 1:
        raise ValueError(
            f"Expected one sequence of ids; found an array of shape {array.shape}. "
            "Decode its rows one by one."
        )
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"Token ids are integers; found {array.dtype} values.")
    checked = np.atleast_1d(array).tolist()
    for token_id in checked:
        require_id(token_id, vocab_size)
    return checked


def require_id(token_id: int, vocab_size: int) -> None:
    """Raises ValueError for an id outside the vocabulary."""
    if not 0 <= token_id < vocab_size:
        raise ValueError(
            f"Token id {token_id} is outside the vocabulary of {vocab_size:,} tokens."
        )
