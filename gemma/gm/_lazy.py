"""Names that a room imports when they are first asked for."""

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from gemma.gm._elsewhere import missing_name


def lazily(
    room: str, homes: Mapping[str, str] = MappingProxyType({})
) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a room, which imports some of its names on demand.

    Tokenizers and file headers need no JAX, which takes half a second to import. The
    error of other names says what DeepMind's library means by them.

    Args:
      room: The room's full name.
      homes: The file of each such name, without the room.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise missing_name(room, name)
        return getattr(importlib.import_module(f"{room}.{homes[name]}"), name)

    return find
