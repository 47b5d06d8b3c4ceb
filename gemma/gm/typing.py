"""The types that every room speaks of."""

from collections.abc import Mapping
from typing import Any, TypeAlias

# A nested dict whose leaves are weights: arrays, or values that `gm.weights` can multiply with.
Params: TypeAlias = Mapping[str, Any]
# What generation remembers: arrays by layer name, and "end"; see `gm.nn._cache`.
Cache: TypeAlias = dict[str, Any]
DType: TypeAlias = Any
