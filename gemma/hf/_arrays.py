"""Arrays of torch, numpy and JAX: in whichever kind they come, they go out again."""

import sys
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gemma.gm.typing import DType


def is_torch(array: Any) -> bool:
    """Returns whether an array is a tensor of torch, without importing that."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def to_jax(array: Any) -> Any:
    """Returns an array of JAX; None stays None."""
    if array is None or isinstance(array, jax.Array):
        return array
    if is_torch(array):
        array = array.detach().cpu()
        if array.dtype.is_floating_point and array.dtype.itemsize == 2:
            array = array.float()
        array = array.numpy()
    array = np.asarray(array)
    if array.dtype == np.int64:  # of which JAX has none
        array = array.astype(np.int32)
    return jnp.asarray(array)


def to_ids(array: Any) -> Any:
    """Returns ids as an array of JAX; None stays None.

    Raises:
      TypeError: They are no whole numbers.
    """
    ids = to_jax(array)
    if ids is not None and ids.size and not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(
            f"The ids have dtype {ids.dtype}; whole numbers are needed. Pass what the "
            "tokenizer returned, or vectors as inputs_embeds."
        )
    return ids


def plain(value: Any) -> Any:
    """Returns numbers, lists or dicts in place of arrays, as JSON has them."""
    if is_torch(value) or isinstance(value, np.ndarray | np.generic | jax.Array):
        return np.asarray(to_jax(value)).tolist()
    if isinstance(value, Mapping):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(entry) for entry in value]
    return value


def whole_numbers(value: Any, name: str) -> list[int]:
    """Returns a number or several, in an array or not, as a list; none for None.

    Raises:
      TypeError: They are no whole numbers.
    """
    if value is None:
        return []
    found = np.asarray(plain(value))
    if found.size and not np.issubdtype(found.dtype, np.integer):
        raise TypeError(f"{name} is {value!r}; whole numbers are needed.")
    return found.reshape(-1).tolist()


def to_torch(tree: Any) -> Any:
    """Returns a tree of JAX's arrays as torch's, whole numbers of 64 bits.

    They have no gradients: those are JAX's to compute.
    """
    import torch  # pyright: ignore[reportMissingImports]

    def convert(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array):
            return leaf
        array = np.asarray(leaf)
        if array.dtype == jnp.bfloat16:
            return torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)
        if np.issubdtype(array.dtype, np.integer):
            return torch.from_numpy(array.astype(np.int64))
        return torch.from_numpy(array.copy())

    return jax.tree.map(convert, tree)


def dtype_of(dtype: Any) -> DType | None:
    """Returns a dtype that may be torch's, "bfloat16", or "auto" for None."""
    if dtype is None or (isinstance(dtype, str) and dtype == "auto"):
        return None
    # That of torch is written "torch.bfloat16".
    name = dtype if isinstance(dtype, str) else str(dtype)
    name = name.removeprefix("torch.")
    try:
        found = jnp.dtype(name if name.isidentifier() else dtype)
    except TypeError:
        found = None
    if found is None or not jnp.issubdtype(found, jnp.floating):
        raise ValueError(
            f"dtype is {dtype!r}; a float dtype is needed, such as 'bfloat16' or "
            "'float32', or 'auto'."
        )
    return found


def device_of(device: Any) -> Any:
    """Returns a device of JAX for what transformers calls one; None for the default.

    Args:
      device: "cpu", "cuda", "cuda:1", "tpu", a number of an accelerator (-1 is the CPU),
        a device of torch or of JAX, or "auto".

    Raises:
      ValueError: There is no such device.
    """
    if device is None or isinstance(device, jax.Device):
        return device
    if isinstance(device, int):
        # Where there is no accelerator, this is none of JAX's platforms.
        found = jax.default_backend().replace("cpu", "accelerator")
        device = "cpu" if device < 0 else f"{found}:{device}"
    name = str(device)
    if name == "auto":
        return None
    kind, _, number = name.partition(":")
    platform = {"cuda": "gpu", "xla": "tpu"}.get(kind, kind)
    try:
        return jax.devices(platform)[int(number or 0)]
    except (RuntimeError, IndexError, ValueError):
        raise ValueError(
            f"There is no device {name!r} here; JAX has "
            f"{', '.join(map(str, jax.devices()))}. Install jax[cuda12] or jax[tpu] "
            "for accelerators, or pass device='cpu'."
        ) from None
