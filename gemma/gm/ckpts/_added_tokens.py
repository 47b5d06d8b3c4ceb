"""Tokens of a tokenizer that the model's embedding has no row for.

Published tokenizers of Gemma 3 have `<image_soft_token>`, id 262,144, also where the
model reads text only and has 262,144 rows; FunctionGemma's have two such entries. The
model never reads them.
"""

import numpy as np

# The image token and gaps before it; published tokenizers have one or two. A tokenizer of another family has thousands.
_MAX_ADDED = 64
# Control tokens, user-defined pieces and ids without a piece, as sentencepiece and GGUF
# number the kinds.
_ADDED_KINDS = (3, 4, 5)


def num_held(kinds: np.ndarray, num_rows: int) -> int:
    """Returns how many tokens of a vocabulary have a row of the embedding.

    Args:
      kinds: The kind of each token, by id; see `gm.text.PieceKind`.
      num_rows: Rows of the embedding.

    Raises:
      ValueError: Tokens without a row are more than a few that were added after
        training: the vocabulary is not the model's.
    """
    beyond = kinds[num_rows:]
    if len(beyond) > _MAX_ADDED or not np.isin(beyond, _ADDED_KINDS).all():
        raise ValueError(
            f"The tokenizer has {len(kinds):,} tokens but the model's embedding has "
            f"{num_rows:,} rows: they do not belong together."
        )
    return min(len(kinds), num_rows)
