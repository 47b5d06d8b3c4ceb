"""What generation returns, and one row of it as it grows."""

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Int

from gemma.gm.text._detokenize import StreamingDecoder
from gemma.gm.text._stop import StopStrings
from gemma.gm.text._tokenizer import Tokenizer

if TYPE_CHECKING:
    from gemma.gm.text.constraints import Matcher

# "stop": the model ended its answer, or a stop string came up.
# "length": max_new_tokens were made, or the cache is full.
FinishReason = Literal["stop", "length"]


@dataclasses.dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """How probable a chosen token was, and which tokens were the most probable.

    Attributes:
      chosen: Natural log-probability of the chosen token.
      top: Ids and log-probabilities of the best tokens, best first.
    """

    chosen: float
    top: tuple[tuple[int, float], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """One token of one row, as it arrives.

    Attributes:
      row: Which prompt it answers.
      text: What can be shown of the answer now: whole characters only, and nothing
        that may turn out to be a stop string.
      token_id: The token.
      logprobs: If they were asked for.
      finish_reason: Set on the last piece of a row.
    """

    row: int
    text: str
    token_id: int
    logprobs: TokenLogprobs | None
    finish_reason: FinishReason | None


@dataclasses.dataclass(frozen=True, slots=True)
class Generation:
    """The answer to one prompt.

    Attributes:
      text: The answer without the token or string that ended it; with `echo`, after
        the prompt.
      prompt_ids: The tokens of the prompt.
      token_ids: The tokens of the answer, an ending token included.
      finish_reason: Why it ended.
      logprobs: One entry a token, if they were asked for.
    """

    text: str
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    logprobs: tuple[TokenLogprobs, ...] | None


class GrowingRow:
    """One row of a batch while it grows; it changes as tokens are pushed.

    Attributes:
      token_ids: The prompt, and the answer so far.
      room: How many more tokens it may take.
      matcher: What knows which tokens may come, if not all may.
      finish_reason: Set once it has ended.
    """

    finish_reason: FinishReason | None = None

    def __init__(
        self,
        index: int,
        prompt_ids: Sequence[int],
        tokenizer: Tokenizer,
        *,
        stop: Sequence[str],
        stop_ids: Collection[int],
        max_new_tokens: int,
        matcher: "Matcher | None" = None,
    ):
        self.token_ids = list(prompt_ids)
        self._index = index
        self._stop_ids = stop_ids
        self._decoder = StreamingDecoder(tokenizer)
        self._stop = StopStrings(stop)
        self.matcher = matcher
        self.room = max_new_tokens

    def push(self, token_id: int, logprobs: TokenLogprobs | None) -> Piece:
        """Takes the next token; returns what may be shown."""
        self.room -= 1
        self.token_ids.append(token_id)
        if self.matcher is not None:
            self.matcher.accept(token_id)
        is_end = token_id in self._stop_ids
        text, found = self._stop.push("" if is_end else self._decoder.push(token_id))
        if is_end or found or (self.matcher is not None and self.matcher.is_finished):
            self.finish_reason = "stop"
        elif self.room == 0:
            self.finish_reason = "length"
        if self.finish_reason is not None and not found:
            text += self._flush()
            if self._stop.found:  # in bytes that waited for their end
                self.finish_reason = "stop"
        return Piece(self._index, text, token_id, logprobs, self.finish_reason)

    def _flush(self) -> str:
        """Returns what was held back in case a character or stop string went on."""
        text, found = self._stop.push(self._decoder.finish())
        return text if found else text + self._stop.finish()


def growing_rows(
    prompts: Sequence[Sequence[int]],
    rooms: Sequence[int],
    matchers: "Sequence[Matcher | None]",
    tokenizer: Tokenizer,
    *,
    stop: Sequence[str],
    stop_ids: Collection[int],
) -> list[GrowingRow]:
    """Returns a row for each prompt.

    Args:
      prompts: The tokens of each.
      rooms: How many tokens each answer may have.
      matchers: What knows which of them may come, if not all may.
      tokenizer: The tokenizer.
      stop: Strings that end an answer.
      stop_ids: Tokens that do.
    """
    rows = zip(prompts, rooms, matchers, strict=True)
    return [
        GrowingRow(
            i,
            ids,
            tokenizer,
            stop=stop,
            stop_ids=stop_ids,
            max_new_tokens=room,
            matcher=matcher,
        )
        for i, (ids, room, matcher) in enumerate(rows)
    ]


def texts_of(results: Generation | list[Generation]) -> str | list[str]:
    """Returns the text of an answer, or of each."""
    if isinstance(results, Generation):
        return results.text
    return [generation.text for generation in results]


def tokens_of(
    results: Generation | list[Generation],
) -> Int[np.ndarray, "n"] | list[Int[np.ndarray, "n"]]:
    """Returns the tokens of an answer, or of each."""
    if isinstance(results, Generation):
        return np.array(results.token_ids, np.int32)
    return [np.array(generation.token_ids, np.int32) for generation in results]


def gather(prompt_ids: list[int], pieces: list[Piece], prefix: str) -> Generation:
    """Returns the answer that pieces make up, after a text."""
    logprobs = tuple(p.logprobs for p in pieces if p.logprobs is not None)
    finish_reason = pieces[-1].finish_reason
    assert finish_reason is not None
    return Generation(
        text=prefix + "".join(piece.text for piece in pieces),
        prompt_ids=tuple(prompt_ids),
        token_ids=tuple(piece.token_id for piece in pieces),
        finish_reason=finish_reason,
        logprobs=logprobs or None,
    )


def by_step(pieces: Iterator[Piece], num_rows: int) -> Iterator[list[str]]:
    """Yields the texts that came in each step, a row each."""
    texts, last_row = [""] * num_rows, -1
    for piece in pieces:
        if piece.row <= last_row:
            yield texts
            texts = [""] * num_rows
        texts[piece.row], last_row = piece.text, piece.row
    if last_row >= 0:
        yield texts
