"""What the files of a tokenizer say beside its vocabulary."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_JSON = "tokenizer.json"
_ADDED = re.compile(r'"added_tokens"\s*:\s*')
# Control tokens that published files do not call special: places for tokens of users.
_FREE = re.compile(r"<unused\d+>|<mask>|<2mass>|\[multimodal\]|\[@BOS@\]")


def special_ids(path: Path, control_tokens: Mapping[str, int]) -> frozenset[int]:
    """Returns the tokens that decoding may leave out.

    A tokenizer.json says of each added token whether it is special. Of tokens that are
    not in its list, and in other files, the name says so: all control tokens are, but
    for those that users may give a meaning, such as `<unused0>`.

    Args:
      path: The tokenizer's file, or its folder.
      control_tokens: Ids by name.
    """
    found = {i for name, i in control_tokens.items() if not _FREE.fullmatch(name)}
    for token in _added_tokens(path / _JSON if path.is_dir() else path):
        change = found.add if token["special"] else found.discard
        change(token["id"])
    return frozenset(found)


def _added_tokens(path: Path) -> list[dict[str, Any]]:
    """Returns the list of a tokenizer.json, which has been read before."""
    if path.suffix != ".json" or not path.is_file():
        return []
    # The list stands first: what follows is thirty times as long.
    text = path.read_text(encoding="utf-8")
    place = _ADDED.search(text)
    if place is None:
        return []
    return json.JSONDecoder().raw_decode(text, place.end())[0]
