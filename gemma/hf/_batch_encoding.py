"""What a tokenizer returns: lists, or arrays of the library that was asked for."""

from collections import UserDict
from collections.abc import Mapping
from typing import Any

import numpy as np

_KINDS = ("np", "jax", "pt")


class BatchEncoding(UserDict):
    """A dict whose entries are attributes too: `inputs.input_ids`."""

    def __getattr__(self, name: str) -> Any:
        if name != "data" and name in self.data:
            return self.data[name]
        raise AttributeError(f"There is no {name!r}; there are {', '.join(self)}.")

    def __getstate__(self) -> dict[str, Any]:
        return {"data": self.data}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.data = state["data"]

    def to(self, device: Any) -> "BatchEncoding":
        """Returns PyTorch tensors on a device; other arrays need no such call."""
        moved = {
            name: value.to(device) if hasattr(value, "to") else value
            for name, value in self.items()
        }
        return BatchEncoding(moved)


def as_arrays(encoded: Mapping[str, list], kind: str | None) -> BatchEncoding:
    """Returns rows as arrays.

    Args:
      encoded: Rows by name.
      kind: "np", "jax" or "pt"; None for lists.

    Raises:
      ValueError: The rows are not equally long, or there is no such kind.
      ImportError: PyTorch is not installed.
    """
    if kind is None:
        return BatchEncoding(encoded)
    if kind not in _KINDS:
        raise ValueError(
            f"return_tensors is {kind!r}; it must be None, 'np', 'jax' or 'pt'."
        )
    for name, rows in encoded.items():
        if len({len(row) for row in rows}) > 1:
            raise ValueError(
                f"The rows of {name} are not equally long, so they make no array. Pass "
                "padding=True, or truncation=True with a max_length."
            )
    make = {"np": np.array, "jax": _jax, "pt": _pt}[kind]
    return BatchEncoding(
        {name: make(np.array(rows, np.int64)) for name, rows in encoded.items()}
    )


def _jax(rows: np.ndarray) -> Any:
    import jax

    return jax.device_put(rows.astype(np.int32))


def _pt(rows: np.ndarray) -> Any:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            "return_tensors='pt' needs PyTorch: pip install torch. 'np' and 'jax' need "
            "nothing else."
        ) from error
    return torch.tensor(rows)
