"""Programs are compiled once: ahead of the first prompt, and kept on disk."""

import jax
import jax.numpy as jnp

from gemma.gm import hub
from gemma.gm.kernels import Screen, make_screen, screens_are_used
from gemma.gm.nn import Transformer, TransformerConfig
from gemma.gm.text._decode import Choice, decode_step, first_tokens
from gemma.gm.text._prefill import feed_chunk
from gemma.gm.text._sampling import Sampling, stack
from gemma.gm.typing import DType, Params
from gemma.gm.weights import QuantizedArray

# As fast per token as longer chunks on a CPU, and short prompts waste less of it.
PREFILL_CHUNK_LENGTH = 128
# Old programs go when the folder grows beyond this.
_MAX_BYTES = 1 << 30


def default_cache_length(config: TransformerConfig) -> int:
    """Returns 4,096 tokens, or what the model was trained for if that is less."""
    return min(4096, config.max_positions)


def enable_compilation_cache() -> None:
    """Turns on XLA's persistent cache, unless the user has chosen a folder."""
    if jax.config.jax_compilation_cache_dir is not None:  # pyright: ignore
        return
    jax.config.update("jax_compilation_cache_dir", str(hub.cache_dir() / "xla"))
    jax.config.update("jax_compilation_cache_max_size", _MAX_BYTES)
    # The default leaves out programs that compile within a second; a start has many.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def compile_ahead(
    model: Transformer, params: Params, *, cache_length: int, chunk_length: int
) -> None:
    """Makes the programs that answer one prompt, without having the weights yet.

    JAX finds them again when the functions are called with arrays of these shapes.

    Args:
      model: The model.
      params: Shapes of its params; see `Checkpoint.param_structs`.
      cache_length: The most tokens of a prompt and its answer together.
      chunk_length: Tokens of a prompt that go through the model at once.
    """

    def shape(dims: tuple[int, ...], dtype: DType) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(dims, dtype)

    cache = jax.eval_shape(
        lambda: model.init_cache(
            batch_size=1,
            cache_length=cache_length,
            dtype=model.activation_dtype(params),
        )
    )
    x = shape((1, model.config.embed_dim), model.activation_dtype(params))
    choice = Choice(
        sampling=jax.eval_shape(lambda: stack([Sampling()], [0])),
        bias=shape((model.config.vocab_size,), jnp.float32),
        screen=screen_struct(params),
    )
    tokens, active = shape((1,), jnp.int32), shape((1,), jnp.bool_)
    chunk = (1, chunk_length)
    chunk_tokens, chunk_mask = shape(chunk, jnp.int32), shape(chunk, jnp.bool_)
    for program in (
        feed_chunk.lower(model, params, cache, chunk_tokens, chunk_mask, x, active),
        first_tokens.lower(model, params, x, cache, choice),
        decode_step.lower(model, params, cache, tokens, active, choice),
    ):
        program.compile()


def head_screen(params: Params) -> Screen | None:
    """Returns the outline of a packed head, where there are kernels to use it."""
    table = params["embedder"]["input_embedding"]
    return make_screen(table.packed) if isinstance(table, QuantizedArray) else None


def screen_struct(params: Params) -> Screen | None:
    """Returns what `head_screen` would, as shapes."""
    table = params["embedder"]["input_embedding"]
    if not (isinstance(table, QuantizedArray) and screens_are_used()):
        return None
    tiles, groups = table.scales.shape[:2]
    return Screen(
        *(jax.ShapeDtypeStruct((tiles, groups, n), jnp.uint8) for n in (256, 32))
    )
