"""The names and calls of Hugging Face's transformers, over `gemma.gm`.

As of transformers 5.23, with what 4.4x called otherwise. Import from here what came from
`transformers`; what is new is in `gm`.
"""

from gemma.hf._batch_encoding import BatchEncoding
from gemma.hf._config import (
    AutoConfig,
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GemmaConfig,
    PretrainedConfig,
)
from gemma.hf._tokenizer import AutoTokenizer, GemmaTokenizer, GemmaTokenizerFast

__all__ = [
    "AutoConfig",
    "AutoTokenizer",
    "BatchEncoding",
    "Gemma2Config",
    "Gemma3Config",
    "Gemma3TextConfig",
    "GemmaConfig",
    "GemmaTokenizer",
    "GemmaTokenizerFast",
    "PretrainedConfig",
]
