"""Where in a text each token stands."""

from collections.abc import Sequence
from typing import Any

from gemma.gm.text import Tokenizer

# What the two highest bits of a byte are that goes on with a character of UTF-8.
_CONTINUES = 0b10


def offsets_of(tokenizer: Tokenizer, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the first character of each token and the one after its last.

    All tokens of the bytes of one character have that character.

    Args:
      tokenizer: The tokenizer that made the ids.
      ids: The ids of a text, without any that were added to it.
    """
    found, place = [], 0
    for token_id in ids:
        if not tokenizer.is_byte(token_id):
            end = place + len(tokenizer.piece(token_id))
            found.append((place, end))
            place = end
        elif tokenizer.token_bytes(token_id)[0] >> 6 == _CONTINUES:
            found.append((place - 1, place))
        else:
            found.append((place, place + 1))
            place += 1
    return found


def with_added(
    offsets: Sequence[Sequence[Any]], added: Sequence[int]
) -> list[tuple[int, int]]:
    """Returns the offsets of texts in a row, (0, 0) for tokens that were added."""
    given = iter([pair for part in offsets for pair in part])
    return [(0, 0) if is_added else next(given) for is_added in added]
