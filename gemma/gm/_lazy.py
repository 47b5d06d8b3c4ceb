"""Names that a room imports when they are first asked for."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazily(room: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a room, which imports some of its names on demand.

    Tokenizers and file headers need no JAX, which takes half a second to import.

    Args:
      room: The room's full name.
      homes: The file of each such name, without the room.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"{room} has no {name!r}.")
        return getattr(importlib.import_module(f"{room}.{homes[name]}"), name)

    return find
