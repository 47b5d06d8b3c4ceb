"""What training makes small: one number for what a model said and what was right."""

from gemma.gm._lazy import lazily
from gemma.gm.losses._losses import (
    IGNORED,
    binary_cross_entropy,
    cross_entropy,
    next_token_cross_entropy,
    squared_error,
)

__getattr__ = lazily(__name__)

__all__ = [
    "IGNORED",
    "binary_cross_entropy",
    "cross_entropy",
    "next_token_cross_entropy",
    "squared_error",
]
