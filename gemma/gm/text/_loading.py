"""A checkpoint becomes what a sampler needs: weights, tokenizer and programs at once."""

import warnings
from typing import NamedTuple

import jax

from gemma.gm import hub, kernels, peft
from gemma.gm.ckpts import AS_STORED, Progress, open_checkpoint, origin_of
from gemma.gm.kernels import Screen, give_back_memory
from gemma.gm.nn import Transformer
from gemma.gm.text._compilation import (
    PREFILL_CHUNK_LENGTH,
    REWIND_LENGTH,
    Lengths,
    chunk_lengths,
    default_cache_length,
    enable_compilation_cache,
)
from gemma.gm.text._programs import Programs, compile_missing, stored_programs
from gemma.gm.text._reading import Reading
from gemma.gm.text._screen import head_screen
from gemma.gm.text._tokenizer import Tokenizer
from gemma.gm.typing import DType, Params

# Tokens of the tokenizers of published models, and rows that some have beyond them.
_NUM_TOKENS = {"gemma": 256_000, "gemma2": 256_000, "gemma3": 262_144}
_MOST_SPARE_ROWS = 128


class Loaded(NamedTuple):
    """A model that is ready to run for one prompt."""

    model: Transformer
    params: Params
    screen: Screen | None
    tokenizer: Tokenizer
    programs: Programs
    cache_length: int


def load(
    reading: Reading,
    *,
    dtype: DType | None,
    cache_length: int | None,
    progress: Progress | None,
) -> Loaded:
    """Returns a model with its weights, tokenizer and programs.

    Args:
      reading: The files.
      dtype: Dtype of the weights; see `gm.ckpts.load_model`.
      cache_length: The most tokens of a prompt and its answer together.
      progress: Called with the bytes of weights made so far and in all.
    """
    _warn_if_slow(dtype)
    checkpoint = open_checkpoint(reading.gguf or reading.path)
    lengths = Lengths(
        cache=cache_length or default_cache_length(checkpoint.config),
        chunks=chunk_lengths(PREFILL_CHUNK_LENGTH, checkpoint.config),
        rewind=REWIND_LENGTH,
    )
    enable_compilation_cache()
    try:
        # Programs are read in threads of their own, from here on.
        programs, missing = stored_programs(
            checkpoint.model, checkpoint.param_structs(dtype), lengths
        )
        params = checkpoint.read_params(dtype=dtype, progress=progress)
        screen = head_screen(params, reading.head_outline())
        tokenizer = reading.tokenizer.result()
        compile_missing(missing)
        return Loaded(
            model=checkpoint.model,
            params=params,
            screen=screen,
            tokenizer=tokenizer,
            programs=programs,
            cache_length=lengths.cache,
        )
    finally:
        reading.stop()
        give_back_memory()


def _warn_if_slow(dtype: DType | None) -> None:
    """Says that kernels are missing, where they would have been used."""
    is_packed = isinstance(dtype, str) and dtype in (AS_STORED, *peft.KINDS)
    would_help = dtype is None or is_packed
    if would_help and jax.default_backend() == "cpu" and not kernels.available():
        loss = "GGUF files run two to five times slower"
        if is_packed:
            loss = f"{dtype} weights run ten times slower than float32"
        warnings.warn(
            f"gemma-jax was installed without its C++ kernels, so {loss} on this CPU. "
            "Install a C++ compiler, then gemma-jax again.",
            stacklevel=4,
        )


def tokenizer_beside(model: Transformer, params: Params) -> Tokenizer:
    """Returns the tokenizer of a model: beside its checkpoint, or that of its family.

    Args:
      model: The model, which may know its checkpoint.
      params: Its params, which may have been read from one.

    Raises:
      ValueError: No checkpoint is known, and no family has so many tokens.
      FileNotFoundError: There is no tokenizer; says where it was looked for.
    """
    missing = None
    for path in (model.checkpoint, origin_of(params)):
        try:
            if path is not None:
                return Tokenizer.from_path(path)
        except FileNotFoundError as error:
            missing = error
    family, rows = model.config.family, model.config.vocab_size
    num_tokens = _NUM_TOKENS[family]
    if num_tokens <= rows <= num_tokens + _MOST_SPARE_ROWS:
        return Tokenizer.from_path(hub.family_tokenizer(family))
    raise missing or ValueError(
        "The model does not know its tokenizer, and its embedding has "
        f"{rows:,} rows, where that of a published {family} has {num_tokens:,}. Pass "
        "tokenizer=gm.text.Tokenizer.from_path(...), or load the model with "
        "gm.ckpts.load_model."
    )
