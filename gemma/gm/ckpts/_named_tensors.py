"""Params by the names that Hugging Face's files have for them."""

import numpy as np

from gemma.gm.ckpts._names_huggingface import names_huggingface, names_score
from gemma.gm.nn import Classifier, Transformer
from gemma.gm.typing import Params
from gemma.gm.weights import QuantizedArray, flatten


def named_tensors(
    model: Transformer | Classifier, params: Params
) -> dict[str, np.ndarray]:
    """Returns the tensors that `save_model` would write, packed ones as floats.

    Args:
      model: The model, or a classifier.
      params: Its params.
    """
    decoder = model.model if isinstance(model, Classifier) else model
    names = names_huggingface(decoder.config, present=())
    if isinstance(model, Classifier):
        names |= names_score(model)
    weights = flatten(params)

    def plain(ours: str) -> np.ndarray:
        weight = weights[ours]
        found = weight.dequantize() if isinstance(weight, QuantizedArray) else weight
        return np.asarray(found)

    return {entry.name: entry.to_theirs(plain(ours)) for ours, entry in names.items()}
