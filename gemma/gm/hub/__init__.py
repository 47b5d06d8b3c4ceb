"""From the name of a model to files on this machine."""

from gemma.gm.hub._cache import cache_dir
from gemma.gm.hub._download import Download
from gemma.gm.hub._embedded import embedded_checkpoint
from gemma.gm.hub._errors import CheckpointNotFoundError
from gemma.gm.hub._parts import part_names
from gemma.gm.hub._published import published_names
from gemma.gm.hub._resolve import resolve
from gemma.gm.hub._tokenizers import family_tokenizer

__all__ = [
    "CheckpointNotFoundError",
    "Download",
    "cache_dir",
    "embedded_checkpoint",
    "family_tokenizer",
    "part_names",
    "published_names",
    "resolve",
]
