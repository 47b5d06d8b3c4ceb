"""Models and params of checkpoints, in one call."""

from pathlib import Path
from typing import Any

from gemma.gm import hub
from gemma.gm.ckpts._load import open_checkpoint
from gemma.gm.nn import Transformer, TransformerConfig
from gemma.gm.typing import DType, Params, Progress


def load_config(path: Path | str) -> TransformerConfig:
    """Returns the config of a checkpoint without reading its weights."""
    return open_checkpoint(path).config


def load_model(
    path: Path | str, *, dtype: DType | None = None, progress: Progress | None = None
) -> tuple[Transformer, Params]:
    """Returns the model of a checkpoint and its params.

    Args:
      path: A Hugging Face folder, a GGUF file or a directory of Orbax.
      dtype: Dtype of the weights; see `Checkpoint.read_params`.
      progress: Called with the bytes of weights made so far and in all.

    Raises:
      CheckpointError: A tensor is missing, unknown or of the wrong shape, a file is
        truncated, or the architecture is not a Gemma.
    """
    checkpoint = open_checkpoint(path)
    return checkpoint.model, checkpoint.read_params(dtype=dtype, progress=progress)


def load_params(
    path: Path | str,
    *,
    dtype: DType | None = None,
    text_only: bool = False,
    sharding: Any = None,
    donate: bool = True,
    quantize: bool = False,
    progress: Progress | None = None,
) -> Params:
    """Returns the params of a checkpoint.

    Args:
      path: What `open_checkpoint` opens, or a name that `gm.hub.resolve` knows, such as
        one of `CheckpointPath`.
      dtype: Dtype of the weights; see `Checkpoint.read_params`.
      text_only: Leave the vision encoder out: it is not read.
      sharding: Where to put the weights; see `Checkpoint.read_params`.
      donate: Has no effect: in DeepMind's library, whether the params that new ones take
        the place of are released. Here none are passed.
      quantize: Must be False: it renames weights for their training of quantized models.
      progress: Called with the bytes of weights made so far and in all.

    Raises:
      CheckpointError: There is no whole checkpoint.
      CheckpointNotFoundError: There is no such model, or it cannot be fetched.
      ValueError: Weights cannot be held as `dtype`, or `quantize` is set.
    """
    if quantize:
        raise ValueError(
            "quantize=True renames weights for training that simulates quantization, "
            "which is not here. For weights of few bits pass dtype='int8' or 'int4'."
        )
    checkpoint = open_checkpoint(hub.resolve(path), text_only=text_only)
    return checkpoint.read_params(dtype=dtype, sharding=sharding, progress=progress)
