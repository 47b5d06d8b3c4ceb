"""A stream of tokens becomes whole answers, or an iterator over text."""

from collections.abc import Iterator, Sequence
from itertools import chain

from gemma.gm.text._generation import Generation, Piece, by_step, gather
from gemma.gm.text._stream import Stream
from gemma.gm.text._tokenizer import Tokenizer


def prompt_texts(stream: Stream, tokenizer: Tokenizer, *, echo: bool) -> list[str]:
    """Returns the texts that answers begin with: those of the prompts, with `echo`.

    Soft tokens of images have none.
    """
    if not echo:
        return [""] * len(stream.prompts)
    size = tokenizer.vocab_size
    known = [[i for i in prompt.token_ids if i < size] for prompt in stream.prompts]
    return [tokenizer.decode(ids, skip_control_tokens=True) for ids in known]


def gather_all(stream: Stream, begins: Sequence[str]) -> list[Generation]:
    """Returns the whole answers, each after the text that it begins with."""
    encoded = [prompt.token_ids for prompt in stream.prompts]
    pieces: list[list[Piece]] = [[] for _ in encoded]
    for piece in stream:
        pieces[piece.row].append(piece)
    rows = zip(encoded, pieces, begins, strict=True)
    return [gather(ids, row, begin) for ids, row, begin in rows]


def iterate_texts(
    stream: Stream, begins: Sequence[str], *, is_single: bool
) -> Iterator[str] | Iterator[list[str]]:
    """Yields the text of each step, after what the answers begin with."""
    has_begin = any(begins)
    if is_single:
        return chain(begins if has_begin else [], (piece.text for piece in stream))
    steps = by_step(stream, len(stream.prompts))
    return chain([list(begins)] if has_begin else [], steps)
