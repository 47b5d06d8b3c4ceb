"""Text to token ids and back."""

import copy
import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from gemma.gm.ckpts import (
    DEFAULT_TEMPLATE,
    StoredTemplates,
    defaults_from_metadata,
    find_gguf,
    num_held,
    read_chat_templates,
    read_generation_defaults,
    read_gguf_metadata,
    templates_from_metadata,
)
from gemma.gm.dialog import ChatTemplate
from gemma.gm.text._sentencepiece import build_processor, serialize
from gemma.gm.text._vocabulary import (
    SPACE,
    PieceKind,
    Vocabulary,
    from_gguf_metadata,
    read_vocabulary,
)

_CONTROL_KINDS = (PieceKind.CONTROL, PieceKind.UNKNOWN)
# What Gemma's control tokens look like, and some other text too. No bracket of either
# kind inside, or the "<" of "x < y [multimodal]>" would hide the token.
_TAG = re.compile(r"<[^<>\[\]]*>|\[[^<>\[\]]*\]")
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

        Its `stop_ids` are those of its family, and what the checkpoint's
        generation_config.json, config.json or GGUF metadata name besides.

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
        found = found.with_templates(read_chat_templates(path))
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
        found = found.with_templates(templates_from_metadata(metadata, where))
        stated = defaults_from_metadata(metadata, where).stop_ids
        return found.stopping_also_at(stated)

    def stopping_also_at(self, token_ids: Iterable[int]) -> "Tokenizer":
        """Returns this tokenizer with more stop tokens."""
        also = [i for i in token_ids if i not in self.stop_ids]
        if not also:
            return self
        other = copy.copy(self)
        other._stop_ids = (*self.stop_ids, *also)
        return other

    def with_chat_template(self, template: str | None) -> "Tokenizer":
        """Returns this tokenizer with another chat template.

        Args:
          template: A template in Jinja; None to write conversations as the family does.
        """
        templates = {} if template is None else {DEFAULT_TEMPLATE: template}
        return self.with_templates(StoredTemplates(templates, {}))

    def with_templates(self, stored: StoredTemplates) -> "Tokenizer":
        """Returns this tokenizer with the default one of a checkpoint's templates."""
        other = copy.copy(self)
        names = {"bos": self.bos_id, "eos": self.eos_id, "unk": self.unk_id}
        own = {f"{name}_token": self.piece(i) for name, i in names.items()}
        own["pad_token"] = self.piece(self.pad_id)
        other.chat_template = (
            None
            if stored.default is None
            else ChatTemplate(stored.default, {**own, **stored.special_tokens})
        )
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        # The sentencepiece processor is quicker to build than to pickle.
        make = functools.partial(
            Tokenizer, stop_ids=self._stop_ids, chat_template=self.chat_template
        )
        return make, (self.vocabulary,)

    def __repr__(self) -> str:
        return f"Tokenizer({self.vocabulary!r}, vocab_size={self.vocab_size})"

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
        text: str,
        *,
        add_bos: bool = False,
        add_eos: bool = False,
        control_tokens: bool = True,
    ) -> list[int]:
        """Returns the token ids of a text.

        Args:
          text: Any text.
          add_bos: Whether to begin with `bos_id`.
          add_eos: Whether to end with `eos_id`.
          control_tokens: Whether names such as `<start_of_turn>` in the text become
            their tokens. Pass False for text that strangers wrote: the names are
            then spelled out in ordinary tokens.

        Raises:
          ValueError: The text holds a lone surrogate.
        """
        _require_whole_characters(text)
        ids = [self.bos_id] if add_bos else []
        place = 0
        for start, end in self.find_control_tokens(text) if control_tokens else ():
            ids.extend(self._processor.EncodeAsIds(text[place:start]))
            ids.append(self.control_tokens[text[start:end]])
            place = end
        ids.extend(self._processor.EncodeAsIds(text[place:]))
        return [*ids, self.eos_id] if add_eos else ids

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
        kept = self._checked_ids(ids)
        if skip_control_tokens:
            kept = [token_id for token_id in kept if not self.is_control(token_id)]
        return "".join(
            _decode_bytes(b"".join(map(self.token_bytes, run)))
            if are_bytes
            else "".join(map(self.piece, run)).replace(SPACE, " ")
            for are_bytes, run in itertools.groupby(kept, self.is_byte)
        )

    def split(self, text: str, control_tokens: bool = True) -> list[str]:
        """Returns the pieces that a text is made of, spaces written as "▁"."""
        ids = self.encode(text, control_tokens=control_tokens)
        return [self.piece(token_id) for token_id in ids]

    def piece(self, token_id: int) -> str:
        """Returns the piece of a token, spaces written as "▁"."""
        self._require_id(token_id)
        return self.vocabulary.pieces[token_id]

    def id(self, piece: str) -> int:
        """Returns the token of a piece, or of a text that is a single token.

        Raises:
          ValueError: The text is several tokens; the message names them.
        """
        _require_whole_characters(piece)
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
        self._require_id(token_id)
        return self._kinds[token_id] == PieceKind.BYTE

    def is_control(self, token_id: int) -> bool:
        """Returns whether a token is a control token, as `<start_of_turn>` is."""
        self._require_id(token_id)
        return self._kinds[token_id] in _CONTROL_KINDS

    def model_bytes(self) -> bytes:
        """Returns the vocabulary as a sentencepiece model: what tokenizer.model holds."""
        return serialize(self.vocabulary)

    @cached_property
    def _control_pattern(self) -> re.Pattern[str]:
        names = list(self.control_tokens)
        if all(map(_TAG.fullmatch, names)):
            # An expression with the 6,250 names of Gemma 3 takes a quarter of a second
            # to compile. Tags cannot overlap, so a look at the table does as well.
            return _TAG
        return re.compile("|".join(map(re.escape, sorted(names, key=len)[::-1])))

    def _checked_ids(self, ids: npt.ArrayLike) -> list[int]:
        array = np.asarray(ids)
        if array.ndim > 1:
            raise ValueError(
                f"Expected one sequence of ids; found an array of shape {array.shape}. "
                "Decode its rows one by one."
            )
        if array.size and not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"Token ids are integers; found {array.dtype} values.")
        checked = np.atleast_1d(array).tolist()
        for token_id in checked:
            self._require_id(token_id)
        return checked

    def _require_id(self, token_id: int) -> None:
        if not 0 <= token_id < self.vocab_size:
            raise ValueError(
                f"Token id {token_id} is outside the vocabulary of "
                f"{self.vocab_size:,} tokens."
            )


def _require_whole_characters(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"The text holds the lone surrogate {text[error.start]!r} at index "
            f"{error.start}, which is half a character. Repair the text with "
            "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')."
        ) from error


def _decode_bytes(run: bytes) -> str:
    try:
        return run.decode()
    except UnicodeDecodeError:
        return "\ufffd" * len(run)
