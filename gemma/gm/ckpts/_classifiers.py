"""Classifiers on disk: the decoder's checkpoint, with the weights of the score in it."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._load import Checkpoint, open_checkpoint
from gemma.gm.nn import Classifier, SequenceClassifier, TokenClassifier
from gemma.gm.typing import DType, Params, Progress

_PREFIX = "score."


def load_classifier(
    path: Path | str,
    kind: type[Classifier] = SequenceClassifier,
    *,
    num_labels: int | None = None,
    dtype: DType | None = None,
    key: jax.Array | None = None,
    progress: Progress | None = None,
) -> tuple[Classifier, Params]:
    """Returns a classifier and its params.

    Args:
      path: The checkpoint of a classifier, or of a model that shall become one.
      kind: `nn.SequenceClassifier` or `nn.TokenClassifier`.
      num_labels: How many labels it has. A checkpoint of a classifier says so itself.
      dtype: Dtype of the decoder's weights; see `Checkpoint.read_params`. The score is
        float32.
      key: For the score of a model that is none yet; key 0 by default.
      progress: Called with the bytes of weights made so far and in all.

    Raises:
      CheckpointError: There is no whole checkpoint, or its score is of another kind.
      ValueError: Nothing says how many labels there are.
    """
    checkpoint = open_checkpoint(path)
    stated = checkpoint.num_labels
    if num_labels is None and stated is None:
        raise ValueError(f"{path} is no classifier yet: pass num_labels=.")
    classifier = kind(checkpoint.model, num_labels or stated or 0)
    options: Any = {"dtype": dtype, "key": key, "progress": progress}
    return classifier, read_classifier(checkpoint, classifier, **options)


def classifier_of(checkpoint: Checkpoint) -> Classifier | None:
    """Returns the classifier that a checkpoint holds; None of others.

    That of tokens has a bias.
    """
    if checkpoint.num_labels is None:
        return None
    has_bias = f"{_PREFIX}bias" in checkpoint.tensors.shapes
    kind = TokenClassifier if has_bias else SequenceClassifier
    return kind(checkpoint.model, checkpoint.num_labels)


def read_classifier(
    checkpoint: Checkpoint,
    classifier: Classifier,
    *,
    dtype: DType | None = None,
    key: jax.Array | None = None,
    progress: Progress | None = None,
) -> Params:
    """Returns the params of a classifier; see `load_classifier`.

    Args:
      checkpoint: The checkpoint.
      classifier: What it holds, or shall become.
      dtype: Dtype of the decoder's weights.
      key: For the score, if the checkpoint has none.
      progress: Called with the bytes of weights made so far and in all.

    Raises:
      CheckpointError: It is not whole, or its score is of another kind.
    """
    if checkpoint.num_labels is None:
        score = _random_score(classifier, jax.random.key(0) if key is None else key)
    else:
        score = _read_score(checkpoint, classifier)
    params = checkpoint.read_params(dtype=dtype, progress=progress)
    return {**params, "score": score}


def _random_score(classifier: Classifier, key: jax.Array) -> dict[str, jax.Array]:
    """Returns a score as transformers begins with: N(0, 0.02), and no bias."""
    specs = classifier.score_specs()
    weight = 0.02 * jax.random.normal(key, specs["weight"].shape, jnp.float32)
    bias = {"bias": jnp.zeros(specs["bias"].shape)} if "bias" in specs else {}
    return {"weight": weight, **bias}


def _read_score(checkpoint: Checkpoint, classifier: Classifier) -> dict[str, Any]:
    tensors, specs = checkpoint.tensors, classifier.score_specs()
    found = {name for name in tensors.shapes if name.startswith(_PREFIX)}
    needed = {f"{_PREFIX}{name}": spec.shape for name, spec in specs.items()}
    for name in sorted(found ^ needed.keys()):
        what = "holds" if name in found else "lacks"
        raise CheckpointError(
            f"{checkpoint.path} {what} tensor {name!r}: it is no "
            f"{type(classifier).__name__}."
        )
    for name, shape in needed.items():
        if tensors.shapes[name] != shape:
            raise CheckpointError(
                f"Tensor {name!r} in {tensors.file_of(name)} has shape "
                f"{tensors.shapes[name]}; {shape} is needed."
            )
    return {
        name: jnp.asarray(tensors.read(f"{_PREFIX}{name}", np.dtype(np.float32)))
        for name in specs
    }
