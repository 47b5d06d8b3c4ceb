"""Weights are declared, not created.

A layer states the shape of each of its weights once. Initialisation, the check of a
checkpoint and the memory estimate all read that statement.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp

from gemma.gm.typing import DType, Params
from gemma.gm.weights._tree import flatten, unflatten

# transformers' `initializer_range` for every Gemma.
_STDDEV = 0.02
# Weights whose outputs are heads, `[N, H, D]`. All others have one axis of outputs.
_OUT_IN_HEADS = frozenset({"q", "k", "v"})


@dataclasses.dataclass(frozen=True, slots=True)
class ParamSpec:
    """One weight.

    Attributes:
      shape: Stored `[out..., in...]`: the axes that are summed over come last.
      axes: A name for each axis ("vocab", "embed", "heads", "kv_heads", "head",
        "hidden"; in the eyes "vision", "color", "row", "column", "patch"), by which it
        can be placed on several devices.
      init: "normal" (around zero), "zeros" (norms that are stored around
        zero, biases) or "ones" (norms that are stored around one).
    """

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    init: Literal["normal", "zeros", "ones"] = "normal"


def num_out_axes(path: str) -> int:
    """Returns how many leading axes of a weight are outputs, by its path or name.

    Params are plain arrays, and `[N, H, D]` looks like `[D, N, H]`; the name is what
    tells where the axes that are summed over begin.
    """
    return 2 if path.rpartition("/")[2] in _OUT_IN_HEADS else 1


def init_params(
    specs: Mapping[str, object],
    key: jax.Array,
    dtype: DType = jnp.float32,
    *,
    stddev: float = _STDDEV,
) -> Params:
    """Returns random weights for a tree of specs.

    Args:
      specs: The weights.
      key: What they are drawn with.
      dtype: Their dtype.
      stddev: Standard deviation of those that are "normal".
    """
    flat = flatten(specs)
    keys = jax.random.split(key, len(flat))
    leaves = zip(flat.items(), keys, strict=True)
    return unflatten({n: _init(spec, k, dtype, stddev) for (n, spec), k in leaves})


def _init(spec: ParamSpec, key: jax.Array, dtype: DType, stddev: float) -> jax.Array:
    if spec.init == "zeros":
        return jnp.zeros(spec.shape, dtype)
    if spec.init == "ones":
        return jnp.ones(spec.shape, dtype)
    return (stddev * jax.random.normal(key, spec.shape)).astype(dtype)


def num_params(specs: Mapping[str, object]) -> int:
    """Returns how many numbers the weights hold."""
    return sum(math.prod(spec.shape) for spec in flatten(specs).values())
