"""Saving over a folder must not drop weights that the saved model does not have."""

import contextlib
from pathlib import Path

from gemma.gm import ckpts
from gemma.gm.nn import Classifier, Transformer


def refuse_dropping(folder: Path, model: Transformer | Classifier, name: str) -> None:
    """Refuses to replace weights by those of a model that lacks a part of them.

    Such a folder is mostly the one that the model was read from, by a class that reads a
    part: a language model of a classifier, or the text of a model with images.

    Args:
      folder: Where the model shall be saved.
      model: What is saved.
      name: What its class is called.

    Raises:
      ValueError: The folder has scores of labels, or a vision encoder, and the model has
        none.
    """
    if not any(folder.glob("*.safetensors")):
        return
    # What is no checkpoint of ours has no such parts.
    with contextlib.suppress(ckpts.CheckpointError, FileNotFoundError):
        before = ckpts.open_checkpoint(folder)
        is_classifier = isinstance(model, Classifier)
        decoder = model.model if is_classifier else model
        if before.num_labels is not None and not is_classifier:
            lost = "the scores of a classifier", "the classifier's class"
        elif before.config.vision is not None and decoder.config.vision is None:
            lost = "a vision encoder", "Gemma3ForConditionalGeneration"
        else:
            return
        raise ValueError(
            f"{folder} holds {lost[0]}, which a {name} has not: saving over it would "
            f"drop that. Save to another folder, or load it with {lost[1]}."
        )
