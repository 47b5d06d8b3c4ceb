"""Which checkpoint params were read from, while they are in memory.

Params are plain dicts, and a tokenizer lies beside the files that they came from. What is
made from params, by training or by a conversion, has no origin.
"""

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gemma.gm.typing import Params
from gemma.gm.weights import QuantizedArray

# By the id of the array of the embedding, as long as that lives.
_ORIGINS: dict[int, tuple[weakref.ref[Any], Path]] = {}


def remember_origin(params: Params, path: Path) -> None:
    """Notes the checkpoint that params were read from."""
    array = _embedding(params)
    key = id(array)
    # A later array may have the same id.
    _ORIGINS[key] = weakref.ref(array, lambda _: _ORIGINS.pop(key, None)), path


def origin_of(params: Params) -> Path | None:
    """Returns the checkpoint that params were read from, if that is known."""
    array = _embedding(params)
    known, path = _ORIGINS.get(id(array), (lambda: None, None))
    return path if array is not None and known() is array else None


def _embedding(params: Params) -> Any:
    embedder = params.get("embedder")
    table = embedder.get("input_embedding") if isinstance(embedder, Mapping) else None
    return table.tiles if isinstance(table, QuantizedArray) else table
