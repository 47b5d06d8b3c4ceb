"""What is done with each argument that the calls of transformers have."""

import inspect
from collections.abc import Mapping
from typing import NamedTuple

from gemma.hf import (
    _chat_template,
    _generate,
    _generation_fixed,
    _hub_options,
    _image_processor,
    _loading,
    _pipeline_options,
    _processor_options,
    _saving_options,
    _tokenizer_options,
)
from gemma.hf._fixed_options import FixedOption
from gemma.hf._generation_config import GenerationConfig
from gemma.hf._processor import Gemma3Processor
from gemma.hf._tokenizer import GemmaTokenizer


class Call(NamedTuple):
    """A call of transformers.

    Attributes:
      name: What it is called.
      honoured: Arguments that do here what they do there.
      fixed: Arguments that can be passed with some values only.
    """

    name: str
    honoured: frozenset[str]
    fixed: Mapping[str, FixedOption]


_FILES = frozenset(_hub_options.HONOURED)
_IN_PIPELINE_CALLS = (
    "add_special_tokens",
    "batch_size",
    "continue_final_message",
    "documents",
    "max_length",
    "padding",
    "return_full_text",
    "return_tensors",
    "return_text",
    "skip_special_tokens",
    "stop_sequence",
    "text_inputs",
    "tokenizer_encode_kwargs",
    "tools",
    "truncation",
)
CALLS = (
    Call(
        "model from_pretrained",
        _FILES | {*_loading.HONOURED, "pretrained_model_name_or_path"},
        _hub_options.FIXED | _loading.FIXED,
    ),
    Call(
        "model save_pretrained",
        frozenset({*_saving_options.HONOURED, "save_directory"}),
        _saving_options.FIXED,
    ),
    Call(
        "tokenizer from_pretrained",
        _FILES
        | {*_tokenizer_options.SETTINGS, *_tokenizer_options.SPECIAL_TOKENS}
        | {"pretrained_model_name_or_path"},
        _hub_options.FIXED | _tokenizer_options.FIXED,
    ),
    Call(
        "tokenizer save_pretrained",
        frozenset({"save_directory"}),
        _saving_options.FIXED_TOKENIZER,
    ),
    Call(
        "tokenizer __call__",
        frozenset(inspect.signature(GemmaTokenizer.__call__).parameters)
        - {"self", "unknown"},
        _tokenizer_options.FIXED_IN_CALLS,
    ),
    Call(
        "tokenizer apply_chat_template",
        frozenset(inspect.signature(GemmaTokenizer.apply_chat_template).parameters)
        - {"self", "options"}
        | {*_chat_template.ENCODING_OPTIONS},
        _chat_template.FIXED,
    ),
    Call(
        "processor __call__",
        frozenset({*_processor_options.HONOURED, *_processor_options.OF_TEXT})
        | {*_image_processor.CALL_OPTIONS},
        _processor_options.FIXED
        | _image_processor.FIXED
        | _tokenizer_options.FIXED_IN_CALLS,
    ),
    Call(
        "processor apply_chat_template",
        frozenset(inspect.signature(Gemma3Processor.apply_chat_template).parameters)
        - {"self", "options"},
        _processor_options.FIXED_IN_CHAT | _chat_template.FIXED,
    ),
    Call(
        "generate",
        frozenset({*_generate.ARGUMENTS, *vars(GenerationConfig())}),
        _generation_fixed.FIXED,
    ),
    Call(
        "pipeline",
        frozenset({*_loading.HONOURED, *_hub_options.HONOURED})
        | {"task", "model", "tokenizer", "model_kwargs", "batch_size"},
        _loading.FIXED | _hub_options.FIXED | _pipeline_options.FIXED,
    ),
    Call(
        "pipeline __call__",
        frozenset(_IN_PIPELINE_CALLS),
        _pipeline_options.FIXED_IN_CALLS,
    ),
)
