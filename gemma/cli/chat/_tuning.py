"""Whether a model was tuned to answer people, or only to continue text."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# gemma-3-1b-it, Gemma 3 1b It, gemma-2-instruct
_TUNED_NAME = re.compile(r"(?:^|[\s._-])(?:it|instruct)(?:[\s._-]|$)", re.I)
_NAME_KEYS = ("general.finetune", "general.name", "general.basename")


def is_tuned(
    name: str | None, path: Path, gguf_metadata: Mapping[str, Any] | None
) -> bool:
    """Returns whether a checkpoint was tuned for conversations, as far as it says.

    One that brings a chat template was, or whose name says so.

    Args:
      name: What it was asked for by, if not None.
      path: Where it is.
      gguf_metadata: What its file states, if it is a GGUF file.
    """
    stated = gguf_metadata or {}
    if "tokenizer.chat_template" in stated:
        return True
    if gguf_metadata is None and _has_template(path):
        return True
    stated_names = [str(stated.get(key, "")) for key in _NAME_KEYS]
    names = [name or "", *stated_names, *_own_names(path)]
    return any(map(_TUNED_NAME.search, names))


def _has_template(path: Path) -> bool:
    folder = path if path.is_dir() else path.parent
    if (folder / "chat_template.jinja").exists():
        return True
    for file in ("tokenizer_config.json", "chat_template.json"):
        try:
            stated = json.loads((folder / file).read_bytes())
        except (OSError, ValueError):  # absent or damaged: it says nothing
            continue
        if isinstance(stated, dict) and stated.get("chat_template"):
            return True
    return False


def _own_names(path: Path) -> list[str]:
    """Returns the parts of a path that name the model.

    In the caches of Hugging Face and Kaggle that is a folder further up:
    models--google--gemma-3-1b-it/snapshots/1a2b3c.
    """
    parts = path.absolute().parts
    return [*(part for part in parts if "gemma" in part.lower()), path.stem, path.name]
