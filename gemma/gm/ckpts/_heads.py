"""Heads in files: tensors that must be the embedding again, as in every Gemma."""

import numpy as np

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._tensors import TensorReader

# As Hugging Face and GGUF call them.
HEADS = ("lm_head.weight", "language_model.lm_head.weight", "output.weight")
_SLICE_ELEMENTS = 1 << 24


def refuse_untied_head(tensors: TensorReader, embedding: str) -> None:
    """Refuses a head of its own, which would be dropped.

    Args:
      tensors: The checkpoint.
      embedding: Name of its embedding.

    Raises:
      CheckpointError: A head differs from the embedding.
    """
    shapes = tensors.shapes
    for head in HEADS:
        if head in shapes and (
            shapes[head] != shapes[embedding] or not _is_same(tensors, head, embedding)
        ):
            raise CheckpointError(
                f"Tensor {head!r} in {tensors.file_of(head)} is not the same as "
                f"{embedding!r}: heads of their own (untied) are not supported. Train "
                "with tie_word_embeddings true, or use transformers for this model."
            )


def _is_same(tensors: TensorReader, name: str, other: str) -> bool:
    num_rows, num_columns = tensors.shapes[name]
    step = max(1, _SLICE_ELEMENTS // num_columns)
    for begin in range(0, num_rows, step):
        end = min(begin + step, num_rows)
        rows = (tensors.read_rows(x, begin, end) for x in (name, other))
        first, second = (x.astype(np.float32, copy=False) for x in rows)
        if not np.array_equal(first, second):
            return False
    return True
