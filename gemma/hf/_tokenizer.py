"""`GemmaTokenizer` as transformers has it, over `gm.text.Tokenizer`."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gemma.gm import ckpts
from gemma.gm.text import Tokenizer
from gemma.hf._added_tokens import ExtensibleTokenizer
from gemma.hf._batch_encoding import BatchEncoding, as_arrays
from gemma.hf._chat_template import read_templates
from gemma.hf._offsets import offsets_of, with_added
from gemma.hf._padding import Padding, Side, are_rows, as_rows
from gemma.hf._saving_options import refuse_saving_options
from gemma.hf._tokenizer_files import (
    read_config,
    saved_files,
    special_ids,
    write_files,
)
from gemma.hf._tokenizer_options import (
    SETTINGS,
    TokenizerOptions,
    refuse_arguments,
)
from gemma.hf._truncation import Truncation

# What transformers says where nobody knows a length.
_ANY_LENGTH = int(1e30)


class GemmaTokenizer(ExtensibleTokenizer):
    """Text to ids and back, with the calls of transformers.

    Attributes:
      tokenizer: The `gm.text.Tokenizer` that does the work.
      add_bos_token: Whether texts begin with `<bos>`.
      add_eos_token: Whether texts end with `<eos>`.
      padding_side: "left" or "right".
      truncation_side: Which end of a text that is too long goes.
      model_max_length: The length that is meant where a call states none.
      chat_template: How conversations are written, in Jinja, or several by name; None
        for the format of the family. May be set.
    """

    model_input_names = ("input_ids", "attention_mask")

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        tokenizer_file: str | Path | None = None,
        *,
        add_bos_token: bool = True,
        add_eos_token: bool = False,
        padding_side: Side = "left",
        truncation_side: Side = "right",
        model_max_length: int = _ANY_LENGTH,
    ):
        """Reads a tokenizer.

        Args:
          vocab_file: A tokenizer.model.
          tokenizer_file: A tokenizer.json; comes first.
          add_bos_token: See the attributes.
          add_eos_token: See the attributes.
          padding_side: See the attributes.
          truncation_side: See the attributes.
          model_max_length: See the attributes.
        """
        path = tokenizer_file or vocab_file
        if path is None:
            raise ValueError(
                "Pass vocab_file= or tokenizer_file=, or use from_pretrained."
            )
        super().__init__(Tokenizer.from_path(path))
        self.add_bos_token, self.add_eos_token = add_bos_token, add_eos_token
        self.padding_side, self.truncation_side = padding_side, truncation_side
        self.model_max_length = model_max_length
        self.name_or_path, self._source = str(path), Path(path)
        self._vocabulary_read = self.tokenizer.vocabulary
        self.chat_template = read_templates(Path(path))

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | None,
        **options: Any,
    ) -> "GemmaTokenizer":
        """Returns the tokenizer of a checkpoint.

        Args:
          pretrained_model_name_or_path: See `gm.hub.resolve`.
          **options: Arguments of the class and tokens for roles such as `pad_token`,
            instead of what the checkpoint says; `revision`, `gguf_file`, `token`,
            `cache_dir`, `local_files_only` and `force_download`.

        Raises:
          TypeError: An option of transformers that has no equal here.
        """
        asked = TokenizerOptions.take(options)
        path = asked.resolve(pretrained_model_name_or_path)
        stated = read_config(path)
        known = {n: stated[n] for n in SETTINGS if stated.get(n) is not None}
        tokenizer = cls(tokenizer_file=path, **{**known, **asked.settings})
        tokenizer.set_special_tokens(stated)
        for name, token in asked.special_tokens.items():
            setattr(tokenizer, name, token)
        return tokenizer

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name_or_path!r}, vocab_size={len(self)})"

    @property
    def vocab_size(self) -> int:
        """How many ids there are, without those of tokens that were added since."""
        return len(self._vocabulary_read.pieces)

    @property
    def is_fast(self) -> bool:
        """True: there is one tokenizer only."""
        return True

    def get_vocab(self) -> dict[str, int]:
        """Returns the id of each piece."""
        return {piece: i for i, piece in enumerate(self.tokenizer.vocabulary.pieces)}

    def __call__(
        self,
        text: str | Sequence[str],
        text_pair: str | Sequence[str] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str | None = False,
        truncation: bool | str | None = False,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: Side | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        **unknown: Any,
    ) -> BatchEncoding:
        """Returns the ids of a text or of several, as transformers does.

        Args:
          text: A text, or a list of them.
          text_pair: A second text for each.
          add_special_tokens: Whether to add `<bos>` and `<eos>` as set.
          padding: True or "longest"; "max_length" to fill up to `max_length`.
          truncation: Whether to cut what is longer than `max_length`; of a pair the
            longer text first, or "only_first", or "only_second".
          max_length: Tokens, the special ones counted; by default `model_max_length`.
          pad_to_multiple_of: Padded rows get such a length.
          padding_side: Instead of the tokenizer's.
          return_tensors: "np", "jax" or "pt"; None for lists.
          return_token_type_ids: Also return 0 for the first text and 1 for the second.
          return_attention_mask: Also return 0 for padding and 1 for the rest.
          return_special_tokens_mask: Also return 1 for what was added.
          return_offsets_mapping: Also return where in its text each token stands.
          **unknown: Others of transformers, at their defaults.

        Raises:
          ValueError: The arguments do not go together.
          TypeError: An argument of transformers that has no equal here.
        """
        refuse_arguments(unknown)
        single = isinstance(text, str)
        texts, pairs = _as_lists(text, text_pair)
        if max_length is None and self.model_max_length < _ANY_LENGTH:
            max_length = self.model_max_length
        cut = Truncation(truncation, max_length, self.truncation_side)
        rows = [
            self._encode_row(
                first, second, add_special_tokens, cut, return_offsets_mapping
            )
            for first, second in zip(texts, pairs, strict=True)
        ]
        names = "input_ids", "token_type_ids", "special_tokens_mask", "offset_mapping"
        encoded = {name: [row[i] for row in rows] for i, name in enumerate(names)}
        side = padding_side or self.padding_side
        fill = Padding(padding, max_length, pad_to_multiple_of, side)
        padded = fill.apply(encoded, pad_id=self.pad_token_id)
        asked = {
            "token_type_ids": return_token_type_ids,
            "attention_mask": return_attention_mask is not False,
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
        }
        wanted = {n: rows for n, rows in padded.items() if asked.get(n, True)}
        if single and return_tensors is None:
            return BatchEncoding({name: rows[0] for name, rows in wanted.items()})
        return as_arrays(wanted, return_tensors)

    def encode(
        self, text: str, text_pair: str | None = None, **options: Any
    ) -> list[int] | Any:
        """Returns the ids alone; see `__call__`."""
        return self(text, text_pair, **options)["input_ids"]

    def tokenize(self, text: str, *, add_special_tokens: bool = False) -> list[str]:
        """Returns the pieces of a text."""
        ids = self.encode(text, add_special_tokens=add_special_tokens)
        return [self.tokenizer.piece(token_id) for token_id in ids]

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> str | list[str]:
        """Returns the text of ids, or of each row of them.

        Args:
          token_ids: Ids, or rows of them.
          skip_special_tokens: Whether to leave out the tokens that the file calls
            special; `<unused0>` and the like are none.
          clean_up_tokenization_spaces: False or None.
        """
        _refuse_cleaning(clean_up_tokenization_spaces)
        if are_rows(token_ids):
            return self.batch_decode(token_ids, skip_special_tokens)
        return self._decode_row(token_ids, skip_special_tokens)

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """Returns the text of each row of ids."""
        _refuse_cleaning(clean_up_tokenization_spaces)
        return [self._decode_row(row, skip_special_tokens) for row in sequences]

    def _decode_row(self, token_ids: Any, skip_special_tokens: bool) -> str:
        ids = np.atleast_1d(np.asarray(token_ids, np.int64))
        if skip_special_tokens:
            skipped = [*self._special_ids, *self.all_special_ids]
            ids = ids[~np.isin(ids, skipped)]
        return self.tokenizer.decode(ids)

    def convert_ids_to_tokens(
        self, ids: int | Iterable[int], skip_special_tokens: bool = False
    ) -> str | list[str]:
        """Returns the piece of an id, or of each of several."""
        if isinstance(ids, int):
            return self.tokenizer.piece(ids)
        kept = map(int, ids)
        if skip_special_tokens:
            special = set(self.all_special_ids)
            kept = (i for i in kept if i not in special)
        return [self.tokenizer.piece(i) for i in kept]

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """Returns the id of a piece, or of each of several; `<unk>` where there is none."""
        if isinstance(tokens, str):
            return self._vocab.get(tokens, self.tokenizer.unk_id)
        return [self._vocab.get(token, self.tokenizer.unk_id) for token in tokens]

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """Returns the text of pieces."""
        return self.tokenizer.decode(self.convert_tokens_to_ids(tokens))

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: Side | None = None,
        return_tensors: str | None = None,
    ) -> BatchEncoding:
        """Returns rows of ids filled up to one length; see `__call__`."""
        rows, is_single = as_rows(encoded_inputs)
        side = padding_side or self.padding_side
        fill = Padding(padding, max_length, pad_to_multiple_of, side)
        filled = as_arrays(fill.apply(rows, pad_id=self.pad_token_id), return_tensors)
        if is_single:
            return BatchEncoding({name: rows[0] for name, rows in filled.items()})
        return filled

    def save_vocabulary(
        self, save_directory: str | Path, filename_prefix: str | None = None
    ) -> tuple[str]:
        """Writes a tokenizer.model into a folder; returns its path."""
        prefix = "" if filename_prefix is None else f"{filename_prefix}-"
        path = Path(save_directory) / f"{prefix}tokenizer.model"
        with ckpts.whole_file(path) as unfinished:
            unfinished.write_bytes(self.tokenizer.model_bytes())
        return (str(path),)

    def save_pretrained(
        self, save_directory: str | Path, **options: Any
    ) -> tuple[str, ...]:
        """Writes what `from_pretrained` reads, and transformers too; returns the paths.

        The files of the vocabulary are those that were read; of a GGUF file they are
        made.

        Args:
          save_directory: The folder; made if it is not there.
          **options: Those of transformers, at their defaults.

        Raises:
          TypeError: One of those cannot be honoured.
        """
        refuse_saving_options(options)
        settings = {name: getattr(self, name) for name in SETTINGS}
        files = saved_files(
            self,
            self._source,
            settings,
            is_changed=self.tokenizer.vocabulary is not self._vocabulary_read,
            added=self.added_tokens_decoder if self._added_since else {},
        )
        return write_files(Path(save_directory), files)

    @functools.cached_property
    def _special_ids(self) -> frozenset[int]:
        found = special_ids(self._source, self.tokenizer.control_tokens)
        return found | {i for i, t in self._added_since.items() if t.special}

    @functools.cached_property
    def _vocab(self) -> dict[str, int]:
        return self.get_vocab()

    def _encode_row(
        self,
        text: str,
        pair: str | None,
        add_special_tokens: bool,
        cut: Truncation,
        with_offsets: bool,
    ) -> tuple[list[Any], ...]:
        parts = [self.tokenizer.encode(text)]
        if pair is not None:
            parts.append(self.tokenizer.encode(pair))
        added = self.num_special_tokens_to_add(pair is not None)
        num_special = added if add_special_tokens else 0
        cut_parts = cut.apply(parts, num_special=num_special)
        joined = self._join(cut_parts, add_special_tokens)
        if not with_offsets:
            return (*joined, [])
        offsets: list[Any] = [offsets_of(self.tokenizer, part) for part in parts]
        kept = cut.apply(offsets, num_special=num_special)
        return (*joined, with_added(kept, joined[2]))


GemmaTokenizerFast = GemmaTokenizer


class AutoTokenizer:
    """Finds the tokenizer of a checkpoint: always a `GemmaTokenizer`."""

    def __init__(self) -> None:
        raise TypeError("AutoTokenizer is not made: use AutoTokenizer.from_pretrained.")

    from_pretrained = GemmaTokenizer.from_pretrained


def _as_lists(
    text: str | Sequence[str], pair: str | Sequence[str] | None
) -> tuple[list[str], list[str | None]]:
    texts = [text] if isinstance(text, str) else list(text)
    pairs: list[str | None] = [None] * len(texts)
    if pair is not None:
        pairs = [pair] if isinstance(pair, str) else list(pair)
    if len(texts) != len(pairs):
        raise ValueError(f"There are {len(texts)} texts and {len(pairs)} second texts.")
    for one in texts:
        if not isinstance(one, str):
            raise TypeError(f"A text is a {type(one).__name__}; it must be a str.")
    return texts, pairs


def _refuse_cleaning(clean_up_tokenization_spaces: bool | None) -> None:
    if clean_up_tokenization_spaces:
        raise ValueError(
            "clean_up_tokenization_spaces=True would change texts that Gemma's tokenizer "
            "can tell apart; pass False."
        )
