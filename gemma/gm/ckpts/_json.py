"""JSON files beside weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._unfinished import whole_file


def json_bytes(stated: Mapping[str, Any]) -> bytes:
    """Returns what such a file holds: indented, with a line end behind it."""
    return (json.dumps(stated, indent=2) + "\n").encode()


def read_json_object(path: Path, *, is_optional: bool = False) -> dict[str, Any]:
    """Returns the object that a file holds, which may begin with a byte order mark.

    Args:
      path: The file.
      is_optional: Whether a missing file is an empty object.

    Raises:
      CheckpointError: The file cannot be read, or holds something else.
    """
    if is_optional and not path.exists():
        return {}
    way = " Repair the file, or remove it: the model does without." * is_optional
    try:
        stated = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}.{way}") from None
    if not isinstance(stated, dict):
        raise CheckpointError(f"{path} does not hold a JSON object.{way}")
    return stated


def write_json(path: Path, stated: Mapping[str, Any]) -> None:
    """Writes a file that appears whole, in the place of one that was there.

    Its folder is made if there is none.
    """
    with whole_file(path) as unfinished:
        unfinished.write_bytes(json_bytes(stated))
