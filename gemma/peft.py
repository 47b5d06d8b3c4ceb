"""The name that DeepMind's library has for `gemma.gm.peft`."""

from gemma.gm._lazy import lazily
from gemma.gm.peft import KINDS, dequantize, quantize

__getattr__ = lazily(__name__)

__all__ = ["KINDS", "dequantize", "quantize"]
