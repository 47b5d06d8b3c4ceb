"""Tokens that are added to a vocabulary: `add_tokens` of transformers."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gemma.gm.ckpts import Strings, is_reserved
from gemma.gm.text import PieceKind, Tokenizer, Vocabulary
from gemma.hf._chat_template import ChatTokenizer
from gemma.hf._tokenizer_files import added_tokens

_SPACE = "▁"
_ROLES = ("bos_token", "eos_token", "unk_token", "pad_token", "mask_token")
_EXTRA = ("extra_special_tokens", "additional_special_tokens")


@dataclasses.dataclass(frozen=True)
class AddedToken:
    """A token that is found in texts before anything else is.

    Attributes:
      content: Its text.
      single_word: False: it is found inside words too.
      lstrip: False: spaces before it stay.
      rstrip: False: spaces after it stay.
      normalized: Whether spaces in it are those of the vocabulary.
      special: Whether decoding may leave it out.
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = True
    special: bool = False

    def __str__(self) -> str:
        return self.content


class ExtensibleTokenizer(ChatTokenizer):
    """A tokenizer that tokens can be added to."""

    _source: Path

    def __init__(self, tokenizer: Tokenizer):
        """Takes a tokenizer that nothing was added to since it was read."""
        super().__init__(tokenizer)
        self._added_since: dict[int, AddedToken] = {}

    def __len__(self) -> int:
        return self.tokenizer.vocab_size

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """Adds tokens to the vocabulary; returns how many are new among the added ones.

        They get the ids from `len(tokenizer)` on, for which
        `model.resize_token_embeddings(len(tokenizer))` makes rows. A piece that the
        vocabulary has keeps its id, and is found first from now on.

        Args:
          new_tokens: A token or several, texts or `AddedToken`s, transformers' too.
          special_tokens: Whether decoding may leave them out.

        Raises:
          TypeError: A token is no text.
          ValueError: A token takes spaces or whole words only, which cannot be honoured.
        """
        several = isinstance(new_tokens, list | tuple)
        tokens = [
            _read(token, special_tokens)
            for token in (new_tokens if several else [new_tokens])
        ]
        # As in transformers, what was added before in the same way does not count.
        known = {str(t): t.special for t in self.added_tokens_decoder.values()}
        fresh = {t.content: t for t in tokens if t.content}
        fresh = {
            n: t for n, t in fresh.items() if known.get(n) not in (t.special, True)
        }
        if fresh:
            self.tokenizer = _extended(self.tokenizer, list(fresh.values()))
            ids = map(self.tokenizer.id, map(_piece, fresh.values()))
            added = dict(zip(ids, fresh.values(), strict=True))
            self._added_since = {**self._added_since, **added}
            for name in ("_vocab", "_special_ids"):
                self.__dict__.pop(name, None)
        return len(fresh)

    def add_special_tokens(
        self,
        special_tokens_dict: Mapping[str, Any],
        replace_extra_special_tokens: bool = True,
    ) -> int:
        """Gives tokens their parts, and adds those that there are not; returns how many.

        Args:
          special_tokens_dict: Tokens by part, such as {"pad_token": "[PAD]"}; a list of
            tokens without a part as "extra_special_tokens", which transformers 4 called
            "additional_special_tokens".
          replace_extra_special_tokens: Whether these replace those there were.

        Raises:
          ValueError: There is no such part.
        """
        parts = dict(special_tokens_dict)
        extra = [t for name in _EXTRA for t in parts.pop(name, None) or ()]
        if unknown := parts.keys() - set(_ROLES):
            raise ValueError(
                f"{min(unknown)!r} is no part of a special token; there are "
                f"{', '.join((*_ROLES, _EXTRA[0]))}."
            )
        num_new = self.add_tokens([*parts.values(), *extra], special_tokens=True)
        for name, token in parts.items():
            setattr(self, name, str(token))
        if extra:
            before = [] if replace_extra_special_tokens else self.extra_special_tokens
            self.extra_special_tokens = list(dict.fromkeys([*before, *map(str, extra)]))
        return num_new

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The added tokens by id: those of the file, and those added since."""
        path, inner = self._source, self.tokenizer
        path = path / "tokenizer.json" if path.is_dir() else path
        names = {field.name for field in dataclasses.fields(AddedToken)}
        found = {
            token["id"]: AddedToken(**{n: v for n, v in token.items() if n in names})
            for token in added_tokens(path)
        }
        kinds, pieces = inner.vocabulary.kinds, inner.vocabulary.pieces
        for kind in (PieceKind.CONTROL, PieceKind.UNKNOWN, PieceKind.USER_DEFINED):
            is_text = kind is PieceKind.USER_DEFINED
            for token_id in np.flatnonzero(kinds == kind).tolist():
                name = pieces[token_id]
                is_special = not is_text and not is_reserved(name)
                token = AddedToken(name, normalized=is_text, special=is_special)
                found.setdefault(token_id, token)
        return dict(sorted({**found, **self._added_since}.items()))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The ids of the added tokens."""
        return {str(token): i for i, token in self.added_tokens_decoder.items()}

    def get_added_vocab(self) -> dict[str, int]:
        """Returns the ids of the added tokens."""
        return self.added_tokens_encoder


def _read(token: Any, is_special: bool) -> AddedToken:
    """Returns a token that may be a text, or an object with the same attributes."""
    if isinstance(token, str):
        return AddedToken(token, normalized=not is_special, special=is_special)
    if not isinstance(getattr(token, "content", None), str):
        raise TypeError(
            f"A token is a {type(token).__name__}; a str or an AddedToken is needed."
        )
    for name in ("single_word", "lstrip", "rstrip"):
        if getattr(token, name, False):
            raise ValueError(
                f"{token.content!r} has {name}=True, which cannot be honoured: tokens are "
                "found wherever their text stands. Pass the text alone."
            )
    return AddedToken(token.content, special=is_special or token.special)


def _piece(token: AddedToken) -> str:
    """Returns a token as the vocabulary writes it."""
    return token.content if token.special else token.content.replace(" ", _SPACE)


def _extended(tokenizer: Tokenizer, tokens: Sequence[AddedToken]) -> Tokenizer:
    """Returns a tokenizer that finds tokens, those it has not under new ids."""
    old = tokenizer.vocabulary
    place = {piece: i for i, piece in enumerate(old.pieces)}
    pieces, kinds = list(old.pieces), old.kinds.tolist()
    for token in tokens:
        name = _piece(token)
        kind = PieceKind.CONTROL if token.special else PieceKind.USER_DEFINED
        if (token_id := place.get(name)) is None:
            place[name] = len(pieces)
            pieces.append(name)
            kinds.append(kind)
        elif kinds[token_id] in (PieceKind.NORMAL, PieceKind.USER_DEFINED):
            kinds[token_id] = kind
    scores = np.full(len(pieces), old.scores.min(), np.float32)
    scores[: len(old.scores)] = old.scores
    vocabulary: Vocabulary = dataclasses.replace(
        old, pieces=Strings.of(pieces), scores=scores, kinds=np.array(kinds, np.uint8)
    )
    return Tokenizer(
        vocabulary,
        stop_ids=tokenizer.stop_ids,
        chat_template=tokenizer.chat_template,
    )
