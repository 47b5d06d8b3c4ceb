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

    def to(self, device: Any, **options: Any) -> "BatchEncoding":
        """Returns the arrays on a device; PyTorch's also in a dtype.

        Args:
          device: Of PyTorch, for its tensors; or a model's `device`, which is JAX's: the
            model takes arrays from anywhere. Or a dtype of PyTorch for what is no
            integer: ids stay ids.
          **options: Others of `torch.Tensor.to`.
        """
        if type(device).__module__.partition(".")[0] in ("jax", "jaxlib"):
            return self
        is_dtype = type(device).__name__ == "dtype"

        def moved(value: Any) -> Any:
            is_tensor = hasattr(value, "to") and hasattr(value, "is_floating_point")
            if not is_tensor or (is_dtype and not value.is_floating_point()):
                return value
            return value.to(device, **options)

        return BatchEncoding({name: moved(value) for name, value in self.items()})


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
        if len({np.shape(row)[:1] for row in rows}) > 1:
            raise ValueError(
                f"The rows of {name} are not equally long, so they make no array. Pass "
                "padding=True, or truncation=True with a max_length."
            )
    make = {"np": np.array, "jax": _jax, "pt": _pt}[kind]
    return BatchEncoding(
        {name: make(_numbers(name, rows)) for name, rows in encoded.items()}
    )


def _numbers(name: str, rows: list) -> np.ndarray:
    """Returns rows as an array of int64, or of float32 for labels that are no ids."""
    try:
        array = np.array(rows)
    except ValueError:
        raise ValueError(f"The rows of {name} make no array: {rows!r:.80}.") from None
    if array.dtype.kind in "iub" or not array.size:
        return array.astype(np.int64)
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    raise ValueError(
        f"The rows of {name} are no numbers: {rows!r:.80}. Remove them, or pass "
        "return_tensors=None."
    )


def _jax(rows: np.ndarray) -> Any:
    import jax

    return jax.device_put(rows.astype(np.int32) if rows.dtype.kind == "i" else rows)


def _pt(rows: np.ndarray) -> Any:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            "return_tensors='pt' needs PyTorch: pip install torch. 'np' and 'jax' need "
            "nothing else."
        ) from error
    return torch.tensor(rows)
