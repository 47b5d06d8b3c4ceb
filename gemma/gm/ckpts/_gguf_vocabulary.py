"""The vocabulary that the metadata of a GGUF file states."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gemma.gm.ckpts._strings import Strings

# Kinds of pieces, as sentencepiece and GGUF number them.
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4
# How tokenizer files write a space inside a piece.
_SPACE = "▁"
# Files flag their control tokens unevenly: the tokenizer.json of Gemma 1 lists four
# of them and GGUF files take <start_of_image> for text. The names are the same in all.
_CONTROL_NAME = re.compile(
    r"<(?:pad|eos|bos|unk|mask|2mass|unused\d+)>"
    r"|<(?:start|end)_of_(?:turn|image|audio)>"
    r"|<(?:image|audio)_soft_token>"
    r"|\[multimodal\]|\[@BOS@\]"
    r"|<\|[^\s<>|]+\|>"  # <|fim_prefix|>
    r"|<\|[^\s<>|]+>|<[^\s<>|]+\|>"  # <|turn> and <turn|>
)
# Those that published files do not call special: places for tokens of users.
_RESERVED_NAME = re.compile(r"<unused\d+>|<mask>|<2mass>|\[multimodal\]|\[@BOS@\]")


class GgufVocabulary(NamedTuple):
    """What a GGUF file states; see `gm.text.Vocabulary`."""

    pieces: Strings
    scores: np.ndarray
    kinds: np.ndarray
    bos_id: int
    eos_id: int
    pad_id: int
    unk_id: int


def gguf_vocabulary(metadata: Mapping[str, Any]) -> GgufVocabulary | None:
    """Returns the vocabulary of scores that metadata states, if it is whole."""
    names = "tokens", "scores", "token_type"
    found = [metadata.get(f"tokenizer.ggml.{name}") for name in names]
    tokens, scores, kinds = found
    if not isinstance(tokens, Strings) or scores is None or kinds is None:
        return None
    pieces = gguf_pieces(tokens, np.asarray(kinds))
    ids = [
        metadata.get(f"tokenizer.ggml.{name}_token_id", default)
        for name, default in (("bos", 2), ("eos", 1), ("padding", 0), ("unknown", 3))
    ]
    settled = settled_kinds(pieces, kinds, ids[3])
    return GgufVocabulary(pieces, np.asarray(scores), settled, *map(int, ids))


def gguf_pieces(tokens: Strings, kinds: np.ndarray) -> Strings:
    """Returns pieces as other files write them: GGUF has runs of spaces as in text."""
    places: list[int] = np.flatnonzero(kinds == _USER_DEFINED).tolist()
    runs = {i: tokens[i] for i in places}
    return tokens.replaced(
        {i: run.replace(" ", _SPACE) for i, run in runs.items() if " " in run}
    )


def settled_kinds(pieces: Strings, kinds: npt.ArrayLike, unk_id: int) -> np.ndarray:
    """Returns the kinds of pieces, with the family's control tokens known as such."""
    settled = np.array(kinds, np.uint8)
    # Of 262,144 pieces, a few thousand begin like this.
    for token_id in np.flatnonzero(np.isin(pieces.first_bytes(), [*b"<["])).tolist():
        if _CONTROL_NAME.fullmatch(pieces[token_id]):
            settled[token_id] = _CONTROL
    if 0 <= unk_id < len(settled):
        settled[unk_id] = _UNKNOWN
    return settled


def is_reserved(name: str) -> bool:
    """Returns whether a control token is a place for a user's, as `<unused0>` is."""
    return _RESERVED_NAME.fullmatch(name) is not None
