"""A vocabulary as tokenizer.json, which the tokenizers library reads.

Reference: the format of that library, and how published tokenizers of Gemma use it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gemma.gm.ckpts._gguf_metadata import Vocabulary
from gemma.gm.ckpts._gguf_vocabulary import is_reserved

# Kinds of pieces, as sentencepiece numbers them.
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED = 1, 2, 3, 4
_SPACE = "▁"


def tokenizer_json(
    vocabulary: Vocabulary, *, rule: Mapping[str, Any] | None = None
) -> bytes:
    """Returns what a tokenizer.json holds; ids of texts are those of the vocabulary.

    Args:
      vocabulary: A vocabulary of BPE with byte fallback.
      rule: What `text_rule` returns. By default texts begin with `bos_id`.
    """
    pieces, kinds = list(vocabulary.pieces), np.asarray(vocabulary.kinds)
    if rule is None:
        rule = text_rule((pieces[vocabulary.bos_id], vocabulary.bos_id))
    stated = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": list(_added_tokens(pieces, kinds)),
        "normalizer": _replace(" ", _SPACE),
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "post_processor": rule,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                _replace(_SPACE, " "),
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": pieces[vocabulary.unk_id],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece: i for i, piece in enumerate(pieces) if piece},
            "merges": list(_merges(pieces, kinds, np.asarray(vocabulary.scores))),
        },
    }
    # Indented, it would take three times as long.
    return json.dumps(stated, ensure_ascii=False).encode()


def _replace(old: str, new: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


def _added_tokens(pieces: Sequence[str], kinds: np.ndarray) -> Iterator[dict[str, Any]]:
    """Returns what is found in a text before anything is merged."""
    found = np.isin(kinds, (_UNKNOWN, _CONTROL, _USER_DEFINED))
    for token_id in np.flatnonzero(found).tolist():
        # Runs of spaces are found once spaces are written as in pieces.
        is_text = kinds[token_id] == _USER_DEFINED
        yield {
            "id": token_id,
            "content": pieces[token_id],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": bool(is_text),
            "special": not is_text and not is_reserved(pieces[token_id]),
        }


def _merges(
    pieces: list[str], kinds: np.ndarray, scores: np.ndarray
) -> Iterator[tuple[str, str]]:
    """Returns every pair of pieces that is a piece, that of the highest score first."""
    normal = np.flatnonzero(kinds == _NORMAL)
    known = {pieces[i] for i in normal.tolist()}
    for token_id in normal[np.argsort(-scores[normal], kind="stable")].tolist():
        piece = pieces[token_id]
        for cut in range(1, len(piece)):
            if piece[:cut] in known and piece[cut:] in known:
                yield piece[:cut], piece[cut:]


def text_rule(
    begin: tuple[str, int] | None, end: tuple[str, int] | None = None
) -> dict[str, Any]:
    """Returns the rule of how texts, and both of a pair, begin and end.

    Args:
      begin: The piece and the id that they begin with, if any.
      end: Those that they end with.
    """
    added = [token for token in (begin, end) if token is not None]

    def special(token: tuple[str, int] | None, type_id: int) -> list[dict[str, Any]]:
        if token is None:
            return []
        return [{"SpecialToken": {"id": token[0], "type_id": type_id}}]

    def text(name: str, type_id: int) -> list[dict[str, Any]]:
        sequence = {"Sequence": {"id": name, "type_id": type_id}}
        return [*special(begin, type_id), sequence, *special(end, type_id)]

    return {
        "type": "TemplateProcessing",
        "single": text("A", 0),
        "pair": [*text("A", 0), *text("B", 1)],
        "special_tokens": {
            piece: {"id": piece, "ids": [token_id], "tokens": [piece]}
            for piece, token_id in added
        },
    }
