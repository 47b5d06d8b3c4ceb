"""XLA's persistent cache of compiled programs, and the sizes they are compiled for."""

from typing import NamedTuple

import jax

from gemma.gm import hub
from gemma.gm.nn import TransformerConfig

# As fast per token as longer chunks on a CPU.
PREFILL_CHUNK_LENGTH = 256
# What is left of a prompt goes in chunks of this length: less of them is padding.
SHORT_CHUNK_LENGTH = 32
# Old programs go when the folder grows beyond this.
_MAX_BYTES = 1 << 30


# Tokens that layers with a sliding window can take back: those of a stop string, and
# those that were made before the host saw it.
REWIND_LENGTH = 64


class Lengths(NamedTuple):
    """The lengths that programs are compiled for.

    Attributes:
      cache: The most tokens of a prompt and its answer together.
      chunks: How many tokens of a prompt may go through the model at once.
      rewind: How many tokens can be taken back; see `nn.can_rewind`.
    """

    cache: int
    chunks: tuple[int, ...]
    rewind: int


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


def chunk_lengths(longest: int, config: TransformerConfig) -> tuple[int, ...]:
    """Returns how many tokens of a prompt may go through the model at once.

    The tokens of an image go together.
    """
    if config.vision is not None:
        longest = max(longest, config.vision.tokens_per_image)
    return tuple(sorted({min(SHORT_CHUNK_LENGTH, longest), longest}))
