"""The params of the API of 2024: checkpoints as the tree of that time.

As of the releases of February to October 2024; what is new is in `gemma.gm.ckpts`.

Example:
  ```python
  params = load_and_format_params("2b-it")
  params["transformer"]["layer_0"]["attn"]["q_einsum"]["w"].shape  # (8, 2048, 256)
  ```
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from gemma.gm import ckpts
from gemma.gm._lazy import lazily
from gemma.gm.typing import Params
from gemma.gm.weights import flatten, unflatten

__getattr__ = lazily(__name__)


def load_and_format_params(path: str | Path) -> dict[str, Any]:
    """Returns `{"transformer": tree}` of a checkpoint.

    Weights keep the dtype that they are stored in; those that a file packs become
    float32. They are arrays of numpy, in the memory of the host: what computes with
    them, such as a `Sampler`, puts its own copy on the device.

    Args:
      path: A directory that Orbax wrote, or any other checkpoint that
        `gm.ckpts.open_checkpoint` opens. Eyes are left out.

    Raises:
      CheckpointError: It is no whole checkpoint of a Gemma.
      FileNotFoundError: There is nothing at the path.
    """
    return nest_params(param_remapper(load_params(path)))


def load_params(path: str | Path) -> dict[str, Any]:
    """Returns the params of a checkpoint as Google's files have them.

    That is a flat dict of small ones, such as `{"transformer/layer_0/attn/q_einsum":
    {"w": ...}}`. See `load_and_format_params`.
    """
    checkpoint = ckpts.open_checkpoint(Path(path).expanduser(), text_only=True)
    tree = ckpts.read_deepmind(checkpoint)
    return flatten_and_remap_params({"transformer": tree})


def format_and_save_params(params: Params, path: str | Path) -> None:
    """Writes a directory with Orbax, which `load_and_format_params` can read.

    Args:
      params: `{"transformer": tree}`.
      path: The directory to make. It must not exist.

    Raises:
      FileExistsError: There is something at the path.
      ImportError: Orbax is not installed.
    """
    save_params(flatten_and_remap_params(params), path)


def save_params(params: Params, path: str | Path) -> None:
    """Writes params with Orbax as they are; see `format_and_save_params`."""
    path = Path(path).expanduser().absolute()
    if path.exists():
        raise FileExistsError(f"{path} exists. Choose another name or remove it.")
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise ImportError(
            "Writing an Orbax directory needs orbax-checkpoint: "
            "pip install 'gemma-jax[orbax]'"
        ) from error
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(path, jax.tree.map(np.asarray, dict(params)))


def param_remapper(orig_params: Params) -> dict[str, Any]:
    """Returns flat params in which the feed-forward weights of a layer are one entry.

    `".../mlp/linear": {"w": x}` and `".../mlp/gating_einsum": {"w": y}` become
    `".../mlp": {"linear": x, "gating_einsum": y}`. Other entries stay as they are.
    """
    remapped: dict[str, Any] = {}
    for path, leaves in orig_params.items():
        if "mlp/" in path:
            layer, name = path.rsplit("/", maxsplit=1)
            remapped.setdefault(layer, {})[name] = leaves["w"]
        else:
            remapped[path] = leaves
    return remapped


def nest_params(params: Params) -> dict[str, Any]:
    """Returns flat params as a tree: `{"a/b": x}` becomes `{"a": {"b": x}}`."""
    return unflatten(params)


def flatten_and_remap_params(params: Params) -> dict[str, Any]:
    """Undoes `nest_params` and `param_remapper`: returns what Google's files hold."""
    flat: dict[str, Any] = {}
    for path, leaf in flatten(params).items():
        parent, name = path.rsplit("/", maxsplit=1)
        if parent.endswith("/mlp"):
            parent, name = path, "w"
        flat.setdefault(parent, {})[name] = leaf
    return flat
