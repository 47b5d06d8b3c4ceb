"""What goes from one folder of a model to the next, beside the weights."""

import shutil
from pathlib import Path

from gemma.gm.nn import Transformer

_FILES = (
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
_FILES_OF_EYES = ("preprocessor_config.json", "processor_config.json")


def copy_belongings(model: Transformer, folder: Path) -> None:
    """Copies tokenizer, chat template and settings, if the model came from a folder."""
    if model.checkpoint is None or not model.checkpoint.is_dir():
        return
    eyes = () if model.config.vision is None else _FILES_OF_EYES
    for name in (*_FILES, *eyes):
        if (model.checkpoint / name).exists():
            shutil.copy(model.checkpoint / name, folder / name)
