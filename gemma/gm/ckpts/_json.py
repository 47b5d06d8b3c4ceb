"""JSON files beside weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gemma.gm.ckpts._unfinished import whole_file


def json_bytes(stated: Mapping[str, Any]) -> bytes:
    """Returns what such a file holds: indented, with a line end behind it."""
    return (json.dumps(stated, indent=2) + "\n").encode()


def write_json(path: Path, stated: Mapping[str, Any]) -> None:
    """Writes a file that appears whole, in the place of one that was there.

    Its folder is made if there is none.
    """
    with whole_file(path) as unfinished:
        unfinished.write_bytes(json_bytes(stated))
