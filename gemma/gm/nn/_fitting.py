"""A model and params that are to run together: what each says of the other."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from gemma.gm.nn._transformer import Transformer
from gemma.gm.nn._variables import check_params
from gemma.gm.typing import Params
from gemma.gm.weights import flatten

# Of a classifier, and of a model with images that runs on text.
_UNUSED = ("score", "vision")


def fit_to_params(model: Transformer, params: Params) -> Transformer:
    """Returns the model as these params have it.

    The rows of its embedding are those of the params: published files of one model have
    256,000 or 256,128 (Gemma 1 and 2), 262,144 or 262,208 (Gemma 3 with images). Params
    without a vision encoder make it a model of text.

    Args:
      model: A model, such as one by name.
      params: Its params, or anything with their shapes. They may have a vision encoder
        or the scores of a classifier that the model does not use.

    Raises:
      ValueError: They are params of another model, or not laid out as ours.
    """
    check_params(params)
    weights, config = flatten(params), model.config
    rows = weights["embedder/input_embedding"].shape[0]
    has_head = "embedder/head" in weights
    if (rows, has_head) != (config.vocab_size, config.has_head):
        config = dataclasses.replace(config, vocab_size=rows, has_head=has_head)
    if config.vision is not None and "vision" not in params:
        config = dataclasses.replace(config, vision=None)
    if config is not model.config:
        model = dataclasses.replace(model, config=config)
    _check_shapes(model, weights)
    return model


def _check_shapes(model: Transformer, weights: Mapping[str, Any]) -> None:
    """Refuses params that lack a weight of the model or have another shape."""
    config = model.config
    what = f"a {config.family} of {config.num_layers} layers"
    specs = flatten(model.specs())
    for path in weights:
        if path not in specs and path.partition("/")[0] not in _UNUSED:
            raise ValueError(f"The params have {path!r}, which is no weight of {what}.")
    for path, spec in specs.items():
        if path not in weights:
            raise ValueError(f"The params lack {path!r}, which {what} has.")
        if tuple(weights[path].shape) != spec.shape:
            raise ValueError(
                f"The params are those of another model: {path!r} has shape "
                f"{tuple(weights[path].shape)}; this model needs {spec.shape}."
            )
