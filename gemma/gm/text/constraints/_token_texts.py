"""The bytes of each token, and what tokens do to a JSON string."""

import re

import numpy as np
import numpy.typing as npt

from gemma.gm.text._tokenizer import Tokenizer
from gemma.gm.text._vocabulary import SPACE, PieceKind

# A set of tokens: token i is bit i % 32 of word i // 32, of uint32.
Bits = np.ndarray
# Characters of the longest tokens that go into a string unseen; Gemma's have 31. And of
# the longest before a quote that ends one.
LONGEST, LONGEST_BEFORE_QUOTE = 32, 16
# Tokens that are tried where there are too many to try all.
_NUM_COMMON = 512
_LETTER = rb'(?:[^"\\\x00-\x1f\x7f]|\\[nrbtf"\\])'
# Tokens after which the string goes on, some in the middle of an escape.
_INSIDE = re.compile(rb"%b+\\?|\\" % _LETTER, re.DOTALL)
_ESCAPE_BEGUN = re.compile(rb"(?<!\\)(?:\\\\)*\\\Z")
_CLOSING = re.compile(rb'(%b*)"(.*)' % _LETTER, re.DOTALL)


class TokenTexts:
    """What each token of a tokenizer adds to a text; never changes.

    Attributes:
      texts: The bytes of each token; none for those that no text holds.
      stop_ids: The tokens that end an answer.
      byte_ids: A token for each byte.
      num_words: How many words `Bits` have.
      lengths: How many characters each token has that is in `inside`, for others 0.
      inside: By number of characters: tokens of so many at most that a JSON string may
        go on with, from where it may go on with any character.
      closing: Likewise: tokens of so many characters and a quote.
      undone: Those of `inside` that end within a character or an escape.
      quoted: Tokens with a quote that ends a string, and something after it.
      quoted_ends: What each of them has from this quote on.
      common: Some of the tokens that are worth a trial first.
    """

    def __init__(self, tokenizer: Tokenizer, vocab_size: int):
        """Reads the texts; `vocab_size` is how many tokens the model knows."""
        self._tokenizer = tokenizer
        self.stop_ids = [i for i in tokenizer.stop_ids if i < vocab_size]
        # Tokens that were added without a row of the embedding never come.
        self.texts = _texts(tokenizer)[:vocab_size]
        self.num_words = -(-vocab_size // 32)
        singles = {text[0]: i for i, text in enumerate(self.texts) if len(text) == 1}
        self.byte_ids = [singles[byte] for byte in range(256)]
        self._byte_words, self._byte_shifts = np.divmod(np.array(self.byte_ids), 32)
        self.stop = self.bits(self.stop_ids)
        self.common = self.bits(_common_ids(self.texts))
        inside, closing, quoted = _string_lengths(self.texts)
        self.lengths = inside
        self.inside = [self._up_to(inside, n) for n in range(LONGEST + 1)]
        self.closing = [self._up_to(closing, n + 1) for n in range(LONGEST + 1)]
        self.quoted, self.quoted_ends = self.bits(list(quoted)), quoted
        self.undone = self.bits(_undone_ids(self.texts))

    def bits(self, ids: npt.ArrayLike) -> Bits:
        """Returns a set of tokens."""
        flags = np.zeros(self.num_words * 32, bool)
        flags[np.asarray(ids, np.int64)] = True
        return np.packbits(flags, bitorder="little").view(np.uint32)

    def next_bytes(self, bits: Bits) -> bytes:
        """Returns the bytes, in order, whose tokens are in a set."""
        flags = bits[self._byte_words] >> self._byte_shifts & 1
        return np.flatnonzero(flags).astype(np.uint8).tobytes()

    def spell(self, text: bytes) -> list[int]:
        """Returns tokens that write a text, which may begin within a character."""
        body = text.lstrip(bytes(range(0x80, 0xC0)))
        ids = [self.byte_ids[byte] for byte in text[: len(text) - len(body)]]
        ids += self._tokenizer.encode(body.decode(), control_tokens=False)
        if b"".join(self.texts[i] for i in ids) == text:
            return ids
        return self.spell_bytes(text)  # it holds a "▁", which is a space in pieces

    def spell_bytes(self, text: bytes) -> list[int]:
        """Returns a token for each byte of a text."""
        return [self.byte_ids[byte] for byte in text]

    def _up_to(self, lengths: np.ndarray, most: int) -> Bits:
        flags = np.zeros(self.num_words * 32, bool)
        np.logical_and(lengths > 0, lengths <= most, out=flags[: len(lengths)])
        return np.packbits(flags, bitorder="little").view(np.uint32)


def add(bits: Bits, token_id: int) -> None:
    """Puts a token into a set."""
    bits[token_id >> 5] |= np.uint32(1 << (token_id & 31))


def holds(bits: Bits, token_id: int) -> bool:
    """Returns whether a token is in a set."""
    return bool(bits[token_id >> 5] >> (token_id & 31) & 1)


def ids_of(bits: Bits) -> list[int]:
    """Returns the tokens of a set."""
    words = np.flatnonzero(bits)
    flags = np.unpackbits(bits[words].view(np.uint8), bitorder="little")
    rows, places = np.nonzero(flags.reshape(-1, 32))
    return (words[rows] * 32 + places).tolist()


def _texts(tokenizer: Tokenizer) -> list[bytes]:
    """Returns `token_bytes` of each token, ten times faster."""
    vocabulary = tokenizer.vocabulary
    texts = [piece.replace(SPACE, " ").encode() for piece in vocabulary.pieces]
    for kind in (PieceKind.BYTE, PieceKind.CONTROL, PieceKind.UNKNOWN):
        for token_id in vocabulary.ids_of(kind):
            texts[token_id] = tokenizer.token_bytes(token_id)
    return texts


def _common_ids(texts: list[bytes]) -> list[int]:
    """Returns letters, and the first pieces: those come in the order of merges."""
    letters = [i for i, text in enumerate(texts) if len(text) == 1 and text.isascii()]
    pieces = [i for i, text in enumerate(texts) if len(text) > 1]
    return letters + pieces[:_NUM_COMMON]


def _string_lengths(
    texts: list[bytes],
) -> tuple[np.ndarray, np.ndarray, dict[int, bytes]]:
    """Returns the lengths of `inside` and of `closing` tokens, 0 for the others.

    Also returns the `quoted` tokens, with what they have from the quote on. Lengths are in
    characters, the quote included; escapes count double.
    """
    inside, special = _plain_lengths(texts)
    closing, quoted = np.zeros(len(texts), np.int64), {}
    for token_id in np.flatnonzero(special).tolist():
        text = texts[token_id]
        if _INSIDE.fullmatch(text):
            inside[token_id] = _num_characters(text)
        elif found := _CLOSING.fullmatch(text):
            length = _num_characters(found[1])
            if not found[2]:
                closing[token_id] = length + 1
            elif length <= LONGEST_BEFORE_QUOTE:
                quoted[token_id] = b'"' + found[2]
    return inside, closing, quoted


def _undone_ids(texts: list[bytes]) -> list[int]:
    leads = [i for i, text in enumerate(texts) if len(text) == 1 and text[0] >= 0xC0]
    ends = (i for i, text in enumerate(texts) if text.endswith(b"\\"))
    return leads + [i for i in ends if _ESCAPE_BEGUN.search(texts[i])]


def _plain_lengths(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lengths of texts without quotes, escapes and controls.

    Also returns which texts have them; their lengths are 0.
    """
    data = np.frombuffer(b"".join(texts), np.uint8)
    ends = np.cumsum([len(text) for text in texts])
    is_special = (
        (data < 0x20) | (data == ord('"')) | (data == ord("\\")) | (data == 0x7F)
    )
    num_special = _sums(is_special, ends)
    # Each character has one byte that is not 0b10xxxxxx.
    lengths = _sums(data & 0xC0 != 0x80, ends)
    return np.where(num_special > 0, 0, lengths), num_special > 0


def _sums(flags: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Returns how many flags each stretch has, by the ends of stretches."""
    sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(flags)])
    return np.diff(sums[np.concatenate([np.zeros(1, np.int64), ends])])


def _num_characters(text: bytes) -> int:
    return sum(byte & 0xC0 != 0x80 for byte in text)
