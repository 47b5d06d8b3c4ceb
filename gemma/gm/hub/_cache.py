"""Where files that we make ourselves are kept."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_dir() -> Path:
    """Returns $GEMMA_CACHE_DIR, or the user's cache folder. It may not exist yet.

    Downloads are not here: Hugging Face's and Kaggle's clients have caches of their own,
    which other programs share.
    """
    chosen = os.environ.get("GEMMA_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    return user_cache_path("gemma-jax", appauthor=False)
