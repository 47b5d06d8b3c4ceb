"""A JSON string that may hold anything, where most of a vocabulary may come next."""

import numpy as np

from gemma.gm.text.constraints._endings import (
    Ending,
    EndingSearch,
    Engine,
    LastEndings,
    Trials,
    ends_with,
)
from gemma.gm.text.constraints._schema_values import MARK
from gemma.gm.text.constraints._token_texts import (
    LONGEST,
    LONGEST_BEFORE_QUOTE,
    Bits,
    TokenTexts,
    holds,
    ids_of,
)

# A token may leave a character undone, which takes three more bytes, and make the name of
# a property that is taken, which takes another letter or two.
_NUM_SPARE_TOKENS = 5


class FreeString:
    """Knows tokens that have an ending, inside a string that may hold anything.

    No literal and no pattern of the schema allows the character `MARK`, so an answer that
    may go on with it stands inside a string of which only the length counts. What follows
    a string depends on what kind of string it is, not on its letters. So if an ending is
    one after 1, 2, ... n marks, it is one after any n characters or fewer. (Unless they
    make a name that is taken: then it is one after another letter or two.) And where a
    token brings the quote, the ending without it is one.

    For tokens that go on behind the quote, endings are found after a mark, once a string,
    for what they have from the quote on.

    It changes as the string grows.
    """

    def __init__(self, texts: TokenTexts, has_names: bool):
        """Stands outside of such a string; `has_names` says whether any may be taken."""
        self._texts, self._has_names = texts, has_names
        self._mark = texts.spell_bytes(MARK.encode())
        self._last_endings = LastEndings()
        self.leave()

    def leave(self) -> None:
        """Takes note that the string has ended, or the ending is another one."""
        self._num_ahead = 0
        # The ending behind the quote, unless the string is a name.
        self._closed: Ending | None = None
        # Those of tokens that go on behind the quote, each with its tokens.
        self._quoted: list[tuple[Ending, Bits]] | None = None

    def grow(self, token_id: int) -> None:
        """Takes note of a token inside the string."""
        self._num_ahead = max(self._num_ahead - int(self._texts.lengths[token_id]), 0)

    def look(
        self, engine: Engine, ending: Ending, found: Bits, search: EndingSearch
    ) -> None:
        """Looks around in the state of an answer.

        Args:
          engine: The state.
          ending: What would make the answer whole.
          found: The tokens that may come next.
          search: Finds endings.
        """
        if self._num_ahead < LONGEST_BEFORE_QUOTE:  # else there is no need yet
            self._look_ahead(engine.deep_copy(), ending.text)
        # Only its quote shows whether a name is taken.
        may_be_taken = self._has_names and ending.text[1:2] == b":"
        if not self._num_ahead or ending.text[:1] != b'"' or may_be_taken:
            self._closed = None
        elif self._closed is None:
            self._closed = Ending.spelled(ending.text[1:], self._texts)
        if self._closed is None or self._num_ahead < LONGEST_BEFORE_QUOTE:
            self._quoted = None
        elif self._quoted is None:
            self._quoted = self._look_behind(engine, ending, found, search)

    def tokens(self, ending: Ending, num_left: int) -> Bits:
        """Returns tokens after which an ending fits into `num_left` tokens."""
        bits = np.zeros(self._texts.num_words, np.uint32)
        inside = self._texts.inside[self._num_ahead]
        if ending.num_tokens + _NUM_SPARE_TOKENS <= num_left:
            bits |= inside
        elif self._closed is not None and ending.num_tokens <= num_left:
            bits |= inside & ~self._texts.undone
        if self._closed is not None and self._closed.num_tokens <= num_left:
            bits |= self._texts.closing[self._num_ahead]
        for behind, tokens in self._quoted or ():
            if behind.num_tokens <= num_left:
                bits |= tokens
        return bits

    def others(self, found: Bits) -> Bits:
        """Returns the tokens of which it can tell nothing."""
        if self._num_ahead:
            # What is too long for `tokens` would make the string too long.
            found = found & ~self._texts.inside[LONGEST]
        if self._closed is not None:
            found = found & ~self._texts.closing[LONGEST]
        return found if self._quoted is None else found & ~self._texts.quoted

    def ending_after(self, token_id: int) -> Ending | None:
        """Returns the ending after one of `tokens`; None if it is the same as before."""
        if self._texts.lengths[token_id]:
            return None
        quoted = (e for e, tokens in self._quoted or () if holds(tokens, token_id))
        return next(quoted, self._closed)

    def _look_ahead(self, engine: Engine, ending: bytes) -> None:
        engine.consume_tokens(self._mark * self._num_ahead)
        while self._num_ahead < LONGEST and ends_with(
            engine, self._texts, ending, first=self._mark
        ):
            engine.consume_tokens(self._mark)
            self._num_ahead += 1

    def _look_behind(
        self, engine: Engine, ending: Ending, found: Bits, search: EndingSearch
    ) -> list[tuple[Ending, Bits]]:
        after_mark = engine.deep_copy()
        after_mark.consume_tokens(self._mark)
        trials = Trials(after_mark, self._texts, ending, search, self._last_endings)
        behind: dict[bytes, list[int]] = {}
        for token_id in ids_of(found & self._texts.quoted):
            behind.setdefault(self._texts.quoted_ends[token_id], []).append(token_id)
        ids: dict[bytes, list[int]] = {}
        for end, text in trials.endings(behind).items():
            for token_id in behind[end]:
                # Without the mark the string may be too short: a letter makes up for it.
                has_letters = len(self._texts.texts[token_id]) > len(end)
                if has_letters or ends_with(
                    engine, self._texts, text, first=[token_id]
                ):
                    ids.setdefault(text, []).append(token_id)
        return [
            (Ending.spelled(text, self._texts), self._texts.bits(group))
            for text, group in ids.items()
        ]
