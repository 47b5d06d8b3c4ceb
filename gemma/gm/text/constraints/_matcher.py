"""Which tokens may come next, so that the answer matches a constraint and ends in time.

llguidance knows which tokens keep an answer the beginning of something that matches. That
is not enough: a model that never closes its string would run into the limit with half an
answer, and some beginnings have no end at all. So a token is allowed when llguidance does
and an ending is known for it: a text that makes the answer whole, in as many tokens as
are left then, the ending token counted.

Why an answer that takes allowed tokens is whole in time: `Grammars.start` finds an ending
that fits or raises, and from then on there is one at each step. Its own first token is
always allowed, and leaves a shorter one. There may be other tokens:

1. Token by token. llguidance is asked whether the token, a text and the end may follow.
   The text is a part of the ending known so far, or comes from a search.
2. Inside a free string, all that stay in it or end it. `FreeString` says why.
3. For an expression, all, while there is room. What the beginning of a match lacks is
   bounded. When few tokens are left, an ending within the bound is found among the texts
   that match, begin like the answer and go no farther: there each way leads to an end.

Where llguidance gives up, because an automaton has grown too large, the answer takes the
ending that is known.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gemma.gm.text._tokenizer import Tokenizer
from gemma.gm.text.constraints._constraint import (
    Constraint,
    ConstraintError,
    Grammar,
    completing_grammar,
)
from gemma.gm.text.constraints._endings import (
    Ending,
    EndingSearch,
    Engine,
    LastEndings,
    Trials,
    bridge,
    ends_with,
    fits,
    next_tokens,
)
from gemma.gm.text.constraints._free_string import FreeString
from gemma.gm.text.constraints._llguidance import EngineFactory, refusal
from gemma.gm.text.constraints._token_texts import Bits, TokenTexts, add, holds, ids_of

# States that a search may look at, from 20 microseconds on: before an answer, and for one
# of its tokens.
_NUM_FIRST_STATES, _NUM_STATES = 6_000, 300
# Where there are more tokens to try, those that are common are tried.
_MAX_TRIALS = 512


class Grammars:
    """Starts answers that match constraints; threads may share it.

    Example:
      ```python
      grammars = Grammars(tokenizer, vocab_size=262_144)
      matcher = grammars.start(Constraint.choice(["yes", "no"]), max_tokens=8)
      while not matcher.is_finished:
          matcher.accept(choose(matcher.allowed))
      ```
    """

    def __init__(self, tokenizer: Tokenizer, *, vocab_size: int):
        """Makes no more than a note; the first answer reads the vocabulary.

        Args:
          tokenizer: The model's.
          vocab_size: How many tokens the model knows: the rows of its embedding.

        Raises:
          ValueError: The tokenizer has more tokens than that, and not only some that
            were added after training.
        """
        tokenizer.num_held(vocab_size)
        self._tokenizer, self._vocab_size = tokenizer, vocab_size
        self._lock = threading.Lock()
        self._read: tuple[TokenTexts, EngineFactory] | None = None

    def start(self, constraint: Constraint, *, max_tokens: int) -> "Matcher":
        """Returns the state of an answer before its first token.

        Args:
          constraint: What the answer is to match.
          max_tokens: How many tokens it may have, the ending token counted.

        Raises:
          ConstraintError: Nothing matches, or the constraint asks for something that is
            not supported, or no answer is found that is short enough.
          ValueError: `max_tokens` is not positive.
        """
        if max_tokens < 1:
            raise ValueError(
                f"max_tokens is {max_tokens}; an answer needs one at least."
            )
        grammar = constraint.grammar()
        texts, engines = self._vocabulary()
        engine = engines.start(grammar.text)
        if next_tokens(engine, texts) is None:
            raise refusal(constraint, engine.get_error())
        complete = _Completion(constraint, grammar, texts, engines)
        ending = _first_ending(constraint, engine, grammar, texts)
        ending = complete(b"") if ending is None else ending
        if ending is None:
            raise ConstraintError(
                "No answer was found that matches the constraint: it contradicts itself,"
                " or asks for a very long one."
            )
        _check_length(len(texts.spell(ending)) + 1, max_tokens)
        return Matcher(engine, texts, grammar, ending, max_tokens, complete)

    def _vocabulary(self) -> tuple[TokenTexts, EngineFactory]:
        with self._lock:
            if self._read is None:
                texts = TokenTexts(self._tokenizer, self._vocab_size)
                self._read = texts, EngineFactory(self._tokenizer, texts)
            return self._read


class Matcher:
    """The state of one answer; it changes as tokens are accepted.

    Attributes:
      num_left: How many tokens may still come, the ending token counted.
    """

    def __init__(
        self,
        engine: Engine,
        texts: TokenTexts,
        grammar: Grammar,
        ending: bytes,
        max_tokens: int,
        complete: Callable[[bytes], bytes | None],
    ):
        """Stands before the first token; `Grammars.start` makes it.

        Args:
          engine: The state of the answer as llguidance knows it.
          texts: What tokens add to it.
          grammar: What it is to match.
          ending: A whole answer that fits.
          max_tokens: How many tokens it may have, the ending token counted.
          complete: Returns the ending of a text that begins a match of an expression.
        """
        self.num_left = max_tokens
        self._engine: Engine | None = engine
        self._texts, self._grammar, self._complete = texts, grammar, complete
        self._text, self._has_ended = b"", False
        self._string = FreeString(texts, grammar.has_names)
        # None while there is one after any token.
        self._ending: Ending | None = Ending.spelled(ending, texts)
        # Those after tokens that are allowed now, where `_string` does not know them.
        self._endings: dict[int, bytes] = {}
        self._last_endings = LastEndings()
        self._allowed: Bits | None = None

    @property
    def may_end(self) -> bool:
        """Whether the answer is whole."""
        if self._has_ended:
            return False
        if self._engine is not None:
            return self._engine.is_accepting()
        return self._ending is not None and not self._ending.text

    @property
    def is_finished(self) -> bool:
        """Whether an ending token was accepted, or nothing else may come."""
        return self._has_ended or not np.any(self.allowed & ~self._texts.stop)

    @property
    def allowed(self) -> Bits:
        """Tokens that may come next: token i is bit i % 32 of word i // 32, in uint32."""
        if self._allowed is None:
            self._allowed = self._find_allowed()
            self._allowed.flags.writeable = False
        return self._allowed

    def accept(self, token_id: int) -> None:
        """Takes the next token.

        Raises:
          ValueError: The token was not allowed.
        """
        is_known = 0 <= token_id < len(self._texts.texts)
        if not (is_known and holds(self.allowed, token_id)):
            raise ValueError(
                f"Token {token_id} may not come next: it does not lead to an answer that"
                f" matches within {self.num_left} tokens."
            )
        self._allowed, self.num_left = None, self.num_left - 1
        if token_id in self._texts.stop_ids:
            self._has_ended = True
            return
        self._text += self._texts.texts[token_id]
        if self._engine is not None and not self._engine.consume_token(token_id):
            self._engine = None
        if self._ending is not None:
            self._ending = self._ending_after(token_id, self._ending)

    def _find_allowed(self) -> Bits:
        if self._has_ended:
            return np.zeros(self._texts.num_words, np.uint32)
        found, self._endings = self._next_tokens(), {}
        if found is not None and self._has_room():
            self._ending = None
            return found | self._texts.stop if self.may_end else found
        ending = self._ending = self._known_ending()
        assert ending.num_tokens <= self.num_left, "an ending has grown too long"
        bits = np.zeros(self._texts.num_words, np.uint32)
        if self._engine is not None and found is not None:
            bits = self._string_tokens(self._engine, ending, found)
            self._try_others(self._engine, ending, found & ~bits)
        if ending.ids:
            first = ending.ids[0]
            self._endings[first] = ending.text[len(self._texts.texts[first]) :]
        else:
            bits |= self._texts.stop
        for token_id in self._endings:
            add(bits, token_id)
        return bits

    def _next_tokens(self) -> Bits | None:
        """Returns the tokens that llguidance allows; None if it has given up."""
        found = None if self._engine is None else next_tokens(self._engine, self._texts)
        if found is None:
            self._engine = None
            return None
        return found & ~self._texts.stop

    def _has_room(self) -> bool:
        """Whether any token has an ending, since a match never lacks more than that."""
        num_missing = self._grammar.most_missing
        # A character takes four tokens at most, and another one may be undone.
        return num_missing is not None and 4 * num_missing + 4 < self.num_left

    def _known_ending(self) -> Ending:
        if self.may_end:
            return Ending(b"", ())
        if self._ending is not None:
            return self._ending
        found = None
        if self._engine is not None:
            found = self._search(_NUM_FIRST_STATES).find(self._engine)
        if found is None or not fits(found, self._texts, self.num_left):
            found = self._complete(self._text)
        assert found is not None, "a match lacks more than was thought"
        return Ending.spelled(found, self._texts)

    def _search(self, num_states: int) -> EndingSearch:
        return _new_search(self._texts, self._grammar, num_states)

    def _string_tokens(self, engine: Engine, ending: Ending, found: Bits) -> Bits:
        """Returns tokens that have an ending because the answer is in a free string."""
        if not self._grammar.has_marks:
            return np.zeros_like(found)
        self._string.look(engine, ending, found, self._search(_NUM_STATES))
        return found & self._string.tokens(ending, self.num_left - 1)

    def _try_others(self, engine: Engine, ending: Ending, found: Bits) -> None:
        """Finds endings for tokens one by one."""
        found = self._string.others(found)
        if not found.any():
            return
        if np.bitwise_count(found).sum() > _MAX_TRIALS:
            found = found & self._texts.common
        search = self._search(_NUM_STATES)
        trials = Trials(engine, self._texts, ending, search, self._last_endings)
        ids = ids_of(found)
        endings = trials.endings(self._texts.texts[token_id] for token_id in ids)
        # Most are the same.
        num_left, some = self.num_left - 1, set(endings.values())
        fitting = {ending for ending in some if fits(ending, self._texts, num_left)}
        for token_id in ids:
            after = endings.get(self._texts.texts[token_id])
            if after in fitting:
                self._endings[token_id] = after

    def _ending_after(self, token_id: int, ending: Ending) -> Ending:
        """Returns the ending that goes with an allowed token."""
        text = self._endings.get(token_id)
        if text is None:
            after = self._string.ending_after(token_id)
            if after is None:
                return self._ending_inside(token_id, ending)
        elif ending.ids[:1] == (token_id,):
            after = Ending(text, ending.ids[1:])
        else:
            after = Ending.spelled(text, self._texts)
        self._string.leave()
        return after

    def _ending_inside(self, token_id: int, ending: Ending) -> Ending:
        """Returns the ending after a token that stays in a free string."""
        self._string.grow(token_id)
        if self._engine is None:
            return ending
        # The string may have needed letters that it has now.
        shorter = ending.text[max(ending.text.find(b'"'), 0) :]
        if shorter != ending.text and ends_with(self._engine, self._texts, shorter):
            self._string.leave()
            return Ending.spelled(shorter, self._texts)
        more = bridge(self._engine, self._texts, ending.text)
        assert more is not None, (
            "an ending has depended on the letters of a free string"
        )
        if more:
            self._string.leave()
        ids = *self._texts.spell_bytes(more), *ending.ids
        return Ending(more + ending.text, ids)


def _first_ending(
    constraint: Constraint, engine: Engine, grammar: Grammar, texts: TokenTexts
) -> bytes | None:
    """Returns a short answer, if one is found."""
    options = [option.encode() for option in constraint.options]
    if options:
        return min(options, key=lambda option: len(texts.spell(option)))
    return _new_search(texts, grammar, _NUM_FIRST_STATES).find(engine)


def _new_search(texts: TokenTexts, grammar: Grammar, num_states: int) -> EndingSearch:
    return EndingSearch(texts, [word.encode() for word in grammar.words], num_states)


@dataclass(frozen=True, slots=True)
class _Completion:
    """Finds an ending of any text that begins a match of an expression.

    The text lacks no more than the grammar says, so its ending is found in the language
    that goes no farther. There all ways lead to an end, and a search cannot get lost.
    """

    constraint: Constraint
    grammar: Grammar
    texts: TokenTexts
    engines: EngineFactory

    def __call__(self, text: bytes) -> bytes | None:
        if self.grammar.most_missing is None:
            return None
        whole = text.decode(errors="ignore")  # without a character that is undone
        num_more = self.grammar.most_missing + 1
        engine = self.engines.start(
            completing_grammar(self.constraint.source, whole, num_more)
        )
        if not engine.consume_tokens(self.texts.spell_bytes(text)):
            return None
        return _new_search(self.texts, self.grammar, _NUM_FIRST_STATES).find(engine)


def _check_length(num_tokens: int, max_tokens: int) -> None:
    if num_tokens > max_tokens:
        raise ConstraintError(
            f"The shortest answer that was found takes {num_tokens} tokens, the ending"
            f" token counted, and max_tokens is {max_tokens}. Raise it, or ask for less."
        )
