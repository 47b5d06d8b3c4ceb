"""The types that every room speaks of."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import jax

# A nested dict whose leaves are weights: arrays, or values that `gm.weights` can multiply with.
Params: TypeAlias = Mapping[str, Any]
# The state of generation in one layer or a whole model: a nested dict of arrays.
Cache: TypeAlias = dict[str, dict[str, jax.Array]]
DType: TypeAlias = Any
