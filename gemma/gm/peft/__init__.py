"""Params in other forms: fewer bits, at an error that is known."""

from gemma.gm._lazy import lazily
from gemma.gm.peft._quantize import (
    KINDS,
    dequantize,
    pack_matrix,
    quantize,
    quantized_weight_struct,
)

__getattr__ = lazily(__name__)

__all__ = [
    "KINDS",
    "dequantize",
    "pack_matrix",
    "quantize",
    "quantized_weight_struct",
]
