"""A checkpoint becomes what a sampler needs: weights, tokenizer and programs at once."""

import warnings
from typing import NamedTuple

import jax

from gemma.gm import kernels, peft
from gemma.gm.ckpts import AS_STORED, Progress, open_checkpoint
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


def tokenizer_beside(model: Transformer) -> Tokenizer:
    """Returns the tokenizer that lies beside the checkpoint of a model."""
    if model.checkpoint is None:
        raise ValueError(
            "The model does not know its tokenizer. Pass tokenizer="
            "gm.text.Tokenizer.from_path(...), or load the model with "
            "gm.ckpts.load_model."
        )
    return Tokenizer.from_path(model.checkpoint)
