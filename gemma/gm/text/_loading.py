"""A checkpoint becomes what a sampler needs: weights, tokenizer and programs at once."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from gemma.gm.ckpts import Progress, open_checkpoint
from gemma.gm.kernels import give_back_memory
from gemma.gm.nn import Transformer
from gemma.gm.text._compilation import (
    PREFILL_CHUNK_LENGTH,
    chunk_lengths,
    default_cache_length,
    enable_compilation_cache,
)
from gemma.gm.text._programs import Programs, stored_programs
from gemma.gm.text._reading import Reading
from gemma.gm.text._tokenizer import Tokenizer
from gemma.gm.typing import DType, Params


class Loaded(NamedTuple):
    """A model that is ready to run for one prompt."""

    model: Transformer
    params: Params
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
    checkpoint = open_checkpoint(reading.gguf or reading.path)
    cache_length = cache_length or default_cache_length(checkpoint.config)
    enable_compilation_cache()
    # Weights are read by C++ and programs made by XLA, both without the interpreter's
    # lock for most of the time.
    pool = ThreadPoolExecutor(1)
    try:
        programs = pool.submit(
            stored_programs,
            checkpoint.model,
            checkpoint.param_structs(dtype),
            cache_length=cache_length,
            chunk_lengths=chunk_lengths(PREFILL_CHUNK_LENGTH),
        )
        params = checkpoint.read_params(dtype=dtype, progress=progress)
        return Loaded(
            model=checkpoint.model,
            params=params,
            tokenizer=reading.tokenizer.result(),
            programs=programs.result(),
            cache_length=cache_length,
        )
    finally:
        # An error or Ctrl-C does not wait for programs that nobody will run.
        pool.shutdown(wait=False, cancel_futures=True)
        reading.stop()
        give_back_memory()


def tokenizer_beside(model: Transformer) -> Tokenizer:
    """Returns the tokenizer that lies beside the checkpoint of a model."""
    if model.checkpoint is None:
        raise ValueError(
            "The model does not know its tokenizer. Pass tokenizer="
            "gm.text.Tokenizer.from_path(...), or load the model with "
            "gm.ckpts.load_model."
        )
    return Tokenizer.from_path(model.checkpoint)
