"""What a weight is, and the one place where weights meet activations."""

from gemma.gm.weights._einsum import einsum, einsums, is_narrow, take
from gemma.gm.weights._quantized_array import QuantizedArray, quantized_struct
from gemma.gm.weights._spec import (
    ParamSpec,
    init_params,
    num_out_axes,
    num_params,
)
from gemma.gm.weights._tree import flatten, unflatten

__all__ = [
    "ParamSpec",
    "QuantizedArray",
    "einsum",
    "einsums",
    "flatten",
    "init_params",
    "is_narrow",
    "num_out_axes",
    "num_params",
    "quantized_struct",
    "take",
    "unflatten",
]
