"""A JSON string that may hold anything, where most of a vocabulary may come next."""

import numpy as np

from gemma.gm.text._endings import Ending, Engine, Trials, ends_with, fits
from gemma.gm.text._schema_values import MARK
from gemma.gm.text._token_texts import LONGEST, Bits, TokenTexts, add, ids_of

# A token may leave a character undone, which takes three more bytes, and make the name of
# a property that is taken, which takes another letter or two.
_NUM_SPARE_TOKENS = 5
# States that may be looked at in search of endings behind a string.
_NUM_STATES = 500


class FreeString:
    """Knows tokens that have an ending, inside a string that may hold anything.

    No literal and no pattern of the schema allows the character `MARK`, so an answer that
    may go on with it stands inside a string of which only the length counts. What follows
    a string depends on what kind of string it is, not on its letters. So if an ending is
    one after 1, 2, ... n marks, it is one after any n characters or fewer. (Unless they
    make a name that is taken: then it is one after another letter or two.) And where a
    token brings the quote, the ending without it is one.

    For tokens that go on behind the quote, endings are found after a mark, once a string.

    It changes as the string grows.
    """

    def __init__(self, texts: TokenTexts):
        """Stands outside of such a string."""
        self._texts = texts
        self._mark = texts.spell_bytes(MARK.encode())
        self.leave()

    def leave(self) -> None:
        """Takes note that the string has ended, or the ending is another one."""
        self._num_ahead = 0
        self._closed: bytes | None = None
        self._quoted: dict[int, bytes] | None = None

    def grow(self, token_id: int) -> None:
        """Takes note of a token inside the string."""
        self._num_ahead = max(self._num_ahead - int(self._texts.lengths[token_id]), 0)

    def look(self, engine: Engine, ending: Ending, found: Bits) -> None:
        """Looks around in the state of an answer.

        Args:
          engine: The state.
          ending: What would make the answer whole.
          found: The tokens that may come next.
        """
        self._look_ahead(engine.deep_copy(), ending.text)
        # Only its quote shows whether a name is taken.
        is_value = ending.text[:1] == b'"' and ending.text[1:2] != b":"
        self._closed = ending.text[1:] if is_value and self._num_ahead else None
        if self._closed is None or self._num_ahead < LONGEST:
            self._quoted = None
        elif self._quoted is None:
            after_mark = engine.deep_copy()
            after_mark.consume_tokens(self._mark)
            trials = Trials(after_mark, self._texts, ending, _NUM_STATES)
            self._quoted = trials.endings(ids_of(found & self._texts.quoted))

    def tokens(self, ending: Ending, num_left: int) -> Bits:
        """Returns tokens after which an ending fits into `num_left` tokens."""
        bits = np.zeros(self._texts.num_words, np.uint32)
        inside = self._texts.inside[self._num_ahead]
        if ending.num_tokens + _NUM_SPARE_TOKENS <= num_left:
            bits |= inside
        elif self._closed is not None and ending.num_tokens <= num_left:
            bits |= inside & ~self._texts.undone
        if self._closed is not None and fits(self._closed, self._texts, num_left):
            bits |= self._texts.closing[self._num_ahead]
        for token_id, behind in (self._quoted or {}).items():
            if fits(behind, self._texts, num_left):
                add(bits, token_id)
        return bits

    def others(self, found: Bits) -> Bits:
        """Returns the tokens of which it can tell nothing."""
        known = self._texts.inside[self._num_ahead]
        if self._closed is not None:
            known = known | self._texts.closing[self._num_ahead]
        if self._quoted is not None:
            known = known | self._texts.quoted
        return found & ~known

    def ending_after(self, token_id: int) -> bytes | None:
        """Returns the ending after one of `tokens`; None if it is the same as before."""
        if self._texts.lengths[token_id]:
            return None
        return (self._quoted or {}).get(token_id, self._closed)

    def _look_ahead(self, engine: Engine, ending: bytes) -> None:
        engine.consume_tokens(self._mark * self._num_ahead)
        while self._num_ahead < LONGEST and ends_with(
            engine, self._texts, ending, first=self._mark
        ):
            engine.consume_tokens(self._mark)
            self._num_ahead += 1
