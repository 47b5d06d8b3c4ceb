"""Whether a model was tuned to answer people, or only to continue text."""

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
    from gemma.gm.ckpts import CheckpointError, read_chat_templates

    try:
        return bool(read_chat_templates(path).templates)
    except CheckpointError:  # damaged: it says nothing
        return False


def _own_names(path: Path) -> list[str]:
    """Returns the parts of a path that name the model.

    In the caches of Hugging Face and Kaggle that is a folder further up:
    models--google--gemma-3-1b-it/snapshots/1a2b3c.
    """
    parts = path.absolute().parts
    return [*(part for part in parts if "gemma" in part.lower()), path.stem, path.name]
