"""Heads in files: the embedding again, as in every published Gemma, or one of its own."""

import numpy as np

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._tensors import TensorReader

# As Hugging Face and GGUF call them.
HEADS = ("lm_head.weight", "language_model.lm_head.weight", "output.weight")
_SLICE_ELEMENTS = 1 << 24
# Rows that are compared when a checkpoint is opened.
_NUM_SAMPLES = 64


def is_untied(tensors: TensorReader, embedding: str) -> bool:
    """Returns whether there is a head, and some of its rows are not the embedding's.

    Args:
      tensors: The checkpoint.
      embedding: Name of its embedding.
    """
    shapes = tensors.shapes
    heads = [head for head in HEADS if head in shapes]
    if not heads or embedding not in shapes:
        return False
    if shapes[heads[0]] != shapes[embedding]:
        return True
    last = shapes[embedding][0] - 1
    rows = {last * i // _NUM_SAMPLES for i in range(_NUM_SAMPLES + 1)}
    return not all(_are_same(tensors, heads[0], embedding, i, i + 1) for i in rows)


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
                f"Tensor {head!r} in {tensors.file_of(head)} is the same as "
                f"{embedding!r} in most rows, but not in all: it would not be loaded. "
                "Remove the one that is not meant."
            )


def _is_same(tensors: TensorReader, name: str, other: str) -> bool:
    num_rows, num_columns = tensors.shapes[name]
    step = max(1, _SLICE_ELEMENTS // num_columns)
    for begin in range(0, num_rows, step):
        if not _are_same(tensors, name, other, begin, min(begin + step, num_rows)):
            return False
    return True


def _are_same(
    tensors: TensorReader, name: str, other: str, begin: int, end: int
) -> bool:
    rows = (tensors.read_rows(x, begin, end) for x in (name, other))
    first, second = (x.astype(np.float32, copy=False) for x in rows)
    return np.array_equal(first, second)
