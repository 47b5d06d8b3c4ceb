"""Text to token ids and back."""

import copy
import enum
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy.typing as npt

from gemma.gm.ckpts import (
    find_gguf,
    num_held,
    read_chat_templates,
    read_generation_defaults,
    read_gguf_metadata,
)
from gemma.gm.dialog import ChatTemplate
from gemma.gm.text._characters import decode_bytes, require_whole_characters
from gemma.gm.text._ids import checked_ids, require_id
from gemma.gm.text._sentencepiece import build_processor, serialize
from gemma.gm.text._special_tokens import special_tokens_of, tag_pattern
from gemma.gm.text._vocabulary import (
    SPACE,
    PieceKind,
    Vocabulary,
    from_gguf_metadata,
    read_vocabulary,
)

_CONTROL_KINDS = (PieceKind.CONTROL, PieceKind.UNKNOWN)
# Gemma 1 to 3, Gemma 4.
_END_OF_TURN_NAMES = ("<end_of_turn>", "<turn|>")
_END_OF_TEXT_NAME = "<eos>"


class Tokenizer:
    """Turns text into token ids and back, as a vocabulary says.

    Never changes once made: threads may share one. Ids and text are those of the
    tokenizers in transformers, whatever kind of file the vocabulary comes from.

    Example:
      ```python
      tokenizer = gm.text.Tokenizer.from_path("gemma-3-270m-it")
      tokenizer.encode("Hello world", add_bos=True)  # [2, 9259, 1902]
      ```
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        stop_ids: Iterable[int] | None = None,
        chat_template: ChatTemplate | None = None,
    ):
        """Makes a tokenizer.

        Args:
          vocabulary: The pieces.
          stop_ids: The tokens that end an answer; by default `eos_id`, `<eos>` and the
            end of a turn.
          chat_template: How conversations are written; by default as the family does.
        """
        if isinstance(vocabulary, str | Path):
            raise TypeError(
                f"Tokenizer takes a Vocabulary and found {str(vocabulary)!r}. For a "
                "file: gm.text.Tokenizer.from_path(path)."
            )
        self.vocabulary = vocabulary
        self._stop_ids = None if stop_ids is None else tuple(stop_ids)
        self.chat_template = chat_template
        # Numbers of Python's: comparing one of numpy's with an enum runs code in which
        # numpy loses a Ctrl-C.
        self._kinds = vocabulary.kinds.tobytes()
        self._processor = build_processor(vocabulary)

    @classmethod
    def from_path(cls, path: str | Path) -> "Tokenizer":
        """Reads the tokenizer of a checkpoint.

        Its `stop_ids` are those of its family, and what the checkpoint names besides.

        Args:
          path: A tokenizer.json, .model or .gguf file, or a directory with one.

        Raises:
          FileNotFoundError: There is no tokenizer at `path`.
          ValueError: The file is damaged, or its tokenizer is not like Gemma's.
          CheckpointError: A file that states stop tokens is damaged.
        """
        path = Path(path)
        if path.is_file() and find_gguf(path):
            return cls.from_metadata(read_gguf_metadata(path), path)
        vocabulary = read_vocabulary(path)
        try:
            found = cls(vocabulary)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        template = read_chat_templates(path)
        found = found.with_chat_template(template.default, template.special_tokens)
        return found.stopping_also_at(read_generation_defaults(path).stop_ids)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any], where: object) -> "Tokenizer":
        """Returns the tokenizer that the metadata of a GGUF file states.

        Args:
          metadata: Keys and values.
          where: The file, for error messages.
        """
        try:
            found = cls(from_gguf_metadata(metadata))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        path = Path(str(where))
        template = read_chat_templates(path, metadata).default
        stop_ids = read_generation_defaults(path, metadata).stop_ids
        return found.with_chat_template(template).stopping_also_at(stop_ids)

    @classmethod
    def from_version(cls, version: int | str) -> "Tokenizer":
        """Returns the tokenizer of Gemma 2 or 3, wherever that is found.

        Args:
          version: 2 (which Gemma 1 has too) or 3.

        Raises:
          ValueError: There is none of that version here.
          CheckpointNotFoundError: It is not on this machine and cannot be fetched.
        """
        from gemma.gm.text._family_tokenizers import tokenizer_of_version

        return tokenizer_of_version(version)

    def stopping_also_at(self, token_ids: Iterable[int]) -> "Tokenizer":
        """Returns this tokenizer with more stop tokens."""
        also = [i for i in token_ids if i not in self.stop_ids]
        if not also:
            return self
        other = copy.copy(self)
        other._stop_ids = (*self.stop_ids, *also)
        return other

    def with_chat_template(
        self, template: str | None, special_tokens: Mapping[str, str] | None = None
    ) -> "Tokenizer":
        """Returns this tokenizer with another chat template.

        Args:
          template: A template in Jinja; None to write conversations as the family does.
          special_tokens: Its variables such as `bos_token`, if not those of the
            vocabulary.
        """
        other = copy.copy(self)
        names = ("bos", "eos", "unk", "pad")
        own = {f"{n}_token": self.piece(getattr(self, f"{n}_id")) for n in names}
        other.chat_template = template and ChatTemplate(
            template, {**own, **(special_tokens or {})}
        )
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        # The sentencepiece processor is quicker to build than to pickle.
        state = self._stop_ids, self.chat_template
        return _restore, (type(self), self.vocabulary, *state)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.vocabulary!r}, vocab_size={self.vocab_size})"
        )

    @property
    def vocab_size(self) -> int:
        """How many ids there are; a model's embedding may have more rows."""
        return len(self.vocabulary.pieces)

    @property
    def bos_id(self) -> int:
        """The token that begins a text."""
        return self.vocabulary.bos_id

    @property
    def eos_id(self) -> int:
        """The token that ends a text."""
        return self.vocabulary.eos_id

    @property
    def pad_id(self) -> int:
        """The token that fills a batch."""
        return self.vocabulary.pad_id

    @property
    def unk_id(self) -> int:
        """The unknown token, which `encode` never returns for plain text."""
        return self.vocabulary.unk_id

    @cached_property
    def control_tokens(self) -> Mapping[str, int]:
        """Ids of the control tokens, by name."""
        ids = (i for kind in _CONTROL_KINDS for i in self.vocabulary.ids_of(kind))
        return MappingProxyType({self.vocabulary.pieces[i]: i for i in sorted(ids)})

    @cached_property
    def special_tokens(self) -> type[enum.IntEnum]:
        """Ids by the names of DeepMind's library: `special_tokens.START_OF_TURN`.

        `CUSTOM` is the id of `<unused0>`: 7 for Gemma 1 and 2, 6 for Gemma 3.
        """
        return special_tokens_of(self.control_tokens)

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The text of each token, by id, with plain spaces."""
        return tuple(piece.replace(SPACE, " ") for piece in self.vocabulary.pieces)

    @property
    def end_of_turn_id(self) -> int | None:
        """The token that ends a turn of a conversation, if there is one."""
        found = (self.control_tokens.get(name) for name in _END_OF_TURN_NAMES)
        return next((token_id for token_id in found if token_id is not None), None)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The tokens that end an answer."""
        if self._stop_ids is not None:
            return self._stop_ids
        # Some files name the end of a turn as the end of a text: both are meant.
        named = self.control_tokens.get(_END_OF_TEXT_NAME), self.end_of_turn_id
        ids = dict.fromkeys((self.eos_id, *named))
        return tuple(token_id for token_id in ids if token_id is not None)

    def num_held(self, num_rows: int) -> int:
        """Returns how many tokens have one of the rows of a model's embedding.

        A few tokens that were added after training may have none, as
        `<image_soft_token>` of text-only Gemma 3; the model can neither read nor make
        them.

        Raises:
          ValueError: There are other tokens without a row: the tokenizer is not the
            model's.
        """
        return num_held(self.vocabulary.kinds, num_rows)

    def encode(
        self,
        text: str | Sequence[str],
        *,
        add_bos: bool = False,
        add_eos: bool = False,
        control_tokens: bool = True,
    ) -> list[int]:
        """Returns the token ids of a text.

        Args:
          text: Any text; or a list of pieces, each of which is a token, as `split`
            returns them.
          add_bos: Whether to begin with `bos_id`.
          add_eos: Whether to end with `eos_id`.
          control_tokens: Whether names such as `<start_of_turn>` in the text become
            their tokens. Pass False for text that strangers wrote: the names are
            then spelled out in ordinary tokens.

        Raises:
          ValueError: The text holds a lone surrogate, or a piece is no token.
        """
        if isinstance(text, str):
            ids = self._encode_text(text, control_tokens)
        else:
            ids = [self._id_of_piece(piece) for piece in text]
        begin, end = [self.bos_id] * add_bos, [self.eos_id] * add_eos
        return [*begin, *ids, *end]

    def _encode_text(self, text: str, control_tokens: bool) -> list[int]:
        require_whole_characters(text)
        ids, place = [], 0
        for start, end in self.find_control_tokens(text) if control_tokens else ():
            ids.extend(self._processor.EncodeAsIds(text[place:start]))
            ids.append(self.control_tokens[text[start:end]])
            place = end
        ids.extend(self._processor.EncodeAsIds(text[place:]))
        return ids

    def _id_of_piece(self, piece: str) -> int:
        """Returns the token of one piece of a list; spaces may be plain."""
        if not isinstance(piece, str):
            raise TypeError(
                f"encode takes a text or a list of pieces; found {piece!r} in the list."
            )
        require_whole_characters(piece)
        token_id = self._processor.PieceToId(piece.replace(" ", SPACE))
        if self.tokens[token_id] != piece.replace(SPACE, " "):
            raise ValueError(
                f"{piece!r} is no token. A list is encoded piece by piece; pass a str "
                "for text."
            )
        return token_id

    def find_control_tokens(self, text: str) -> Iterator[tuple[int, int]]:
        """Yields where in a text there are names of control tokens: start and end."""
        for found in self._control_pattern.finditer(text):
            if found[0] in self.control_tokens:
                yield found.span()

    def decode(self, ids: npt.ArrayLike, *, skip_control_tokens: bool = False) -> str:
        r"""Returns the text of token ids.

        Byte tokens are read as UTF-8, each run of them as a whole: a run that is not
        valid becomes one "\ufffd" for each byte, as in the tokenizers library.

        Args:
          ids: One id, or a sequence or one-dimensional array of them.
          skip_control_tokens: Whether to leave out control tokens, before all else.

        Raises:
          ValueError: An id is outside the vocabulary.
        """
        kept = checked_ids(ids, self.vocab_size)
        if skip_control_tokens:
            kept = [token_id for token_id in kept if not self.is_control(token_id)]
        return "".join(
            decode_bytes(b"".join(map(self.token_bytes, run)))
            if are_bytes
            else "".join(map(self.piece, run)).replace(SPACE, " ")
            for are_bytes, run in itertools.groupby(kept, self.is_byte)
        )

    def split(self, text: str, control_tokens: bool = True) -> list[str]:
        """Returns the pieces that a text is made of, with plain spaces."""
        ids = self.encode(text, control_tokens=control_tokens)
        return [self.piece(token_id).replace(SPACE, " ") for token_id in ids]

    def piece(self, token_id: int) -> str:
        """Returns the piece of a token, spaces written as "▁"."""
        require_id(token_id, self.vocab_size)
        return self.vocabulary.pieces[token_id]

    def id(self, piece: str) -> int:
        """Returns the token of a piece, or of a text that is a single token.

        Raises:
          ValueError: The text is several tokens; the message names them.
        """
        require_whole_characters(piece)
        token_id = self._processor.PieceToId(piece)
        if self.vocabulary.pieces[token_id] == piece:
            return token_id
        ids = self.encode(piece)
        if len(ids) == 1:
            return ids[0]
        pieces = ", ".join(repr(self.piece(token_id)) for token_id in ids)
        raise ValueError(f"{piece!r} is {len(ids)} tokens: {pieces or 'none'}")

    def token_bytes(self, token_id: int) -> bytes:
        """Returns the bytes that a token adds to a text: none, for control tokens."""
        piece = self.piece(token_id)
        if self.is_byte(token_id):
            return bytes.fromhex(piece[3:5])
        if self.is_control(token_id):
            return b""
        return piece.replace(SPACE, " ").encode()

    def is_byte(self, token_id: int) -> bool:
        """Returns whether a token is one byte of a character, as `<0xE2>` is."""
        require_id(token_id, self.vocab_size)
        return self._kinds[token_id] == PieceKind.BYTE

    def is_control(self, token_id: int) -> bool:
        """Returns whether a token is a control token, as `<start_of_turn>` is."""
        require_id(token_id, self.vocab_size)
        return self._kinds[token_id] in _CONTROL_KINDS

    def model_bytes(self) -> bytes:
        """Returns the vocabulary as a sentencepiece model: what tokenizer.model holds."""
        return serialize(self.vocabulary)

    @cached_property
    def _control_pattern(self) -> re.Pattern[str]:
        return tag_pattern(list(self.control_tokens))


def _restore(
    kind: type[Tokenizer],
    vocabulary: Vocabulary,
    stop_ids: Any,
    chat_template: Any,
) -> Tokenizer:
    """Makes a tokenizer of a kind whose constructor takes something else."""
    tokenizer = kind.__new__(kind)
    state = {"stop_ids": stop_ids, "chat_template": chat_template}
    Tokenizer.__init__(tokenizer, vocabulary, **state)
    return tokenizer
