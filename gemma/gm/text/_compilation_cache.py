"""Compiled programs are kept on disk, so that the second start does not compile."""

import jax

from gemma.gm import hub

# Old programs go when the folder grows beyond this.
_MAX_BYTES = 1 << 30


def enable_compilation_cache() -> None:
    """Turns on XLA's persistent cache, unless the user has chosen a folder."""
    if jax.config.jax_compilation_cache_dir is not None:  # pyright: ignore
        return
    jax.config.update("jax_compilation_cache_dir", str(hub.cache_dir() / "xla"))
    jax.config.update("jax_compilation_cache_max_size", _MAX_BYTES)
    # The default leaves out programs that compile within a second; a start has many.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
