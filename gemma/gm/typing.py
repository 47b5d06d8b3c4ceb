"""The types that every room speaks of."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

# A nested dict whose leaves are weights: arrays, or values that `gm.weights` can multiply with.
Params: TypeAlias = Mapping[str, Any]
# What generation remembers: arrays by layer name, and "end"; see `gm.nn._cache`.
Cache: TypeAlias = dict[str, Any]
DType: TypeAlias = Any
# Called with the bytes of weights made so far and in all.
Progress: TypeAlias = Callable[[int, int], None]
