"""How an answer that has begun comes to its end, the short way."""

import bisect
import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol, Self

import numpy as np

from gemma.gm.text.constraints._token_texts import Bits, TokenTexts

# What tends to lead to the end is tried first. The costs make a search quick, no more:
# an ending is an ending, and its length is measured, whatever they are.
_ORDINARY, _FOLLOWING, _LEADING = 40, 1, 200
_TEXT_COSTS = [_ORDINARY] * 128 + [_FOLLOWING] * 64 + [_LEADING] * 64
_TEXT_COSTS[ord("\\")] = _LEADING
_TEXT_COSTS[ord('"')] = 0
_COSTS = [*_TEXT_COSTS]
for _bytes, _cost in ((b"]}", 0), (b'"', 1), (b"0123456789ntf", 9), (b",[{", 20)):
    for _byte in _bytes:
        _COSTS[_byte] = _cost
# With so many choices it is a text that goes on, in which brackets mean nothing.
_NUM_TEXT_CHOICES = 64
_RANK_COST, _LENGTH_COST = 0.05, 0.004
# For a byte after which there are the same ways on as before it, or after another one;
# and for one of the former that is the first choice.
_ALIKE_COST, _TWIN_COST, _FIRST_COST = 60, 200, 2
# How often a byte is repeated in search of a change, and how long an ending may be.
_LONGEST_RUN, _LONGEST = 4_096, 1 << 15
_MAX_TAILS, _MAX_FOUND = 6, 6
# Bytes of an ending that are tried before all.
_GLANCE = 32
# Of a character there are three bytes to come at most.
_LONGEST_BRIDGE = 3


class Engine(Protocol):
    """What is used of `llguidance.LLMatcher`, which holds the state of an answer."""

    def deep_copy(self) -> Self: ...
    def consume_token(self, sampled_token: int) -> bool: ...
    def consume_tokens(self, sampled_tokens: list[int]) -> bool: ...
    def validate_tokens(self, tokens: list[int]) -> int: ...
    def compute_ff_bytes(self) -> bytes: ...
    def is_accepting(self) -> bool: ...
    def is_error(self) -> bool: ...
    def unsafe_compute_mask_ptr(self, trg_pointer: int, trg_byte_size: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Ending:
    """A text that makes an answer whole, and tokens that write it."""

    text: bytes
    ids: tuple[int, ...]

    @classmethod
    def spelled(cls, text: bytes, texts: TokenTexts) -> Self:
        """Returns the ending in few tokens."""
        return cls(text, tuple(texts.spell(text)))

    @property
    def num_tokens(self) -> int:
        """How many tokens it takes, with the one that ends the answer."""
        return len(self.ids) + 1


@dataclass(slots=True)
class _State:
    """The state after a text; `choices` are the bytes that may follow."""

    engine: Engine
    text: bytes = b""
    choices: bytes = b""
    is_whole: bool = False
    has_run: bool = False
    # The choices after steps from here.
    seen: set[bytes] = field(default_factory=set)

    def leads_back_to(self, after: "_State", step_len: int) -> bool:
        """Whether nothing has changed after a step."""
        choice = self.choices, self.is_whole, len(self.text) + step_len
        return choice == (after.choices, after.is_whole, len(after.text))


class _Task(IntEnum):
    """What is to be done with a state, the first things first."""

    RUN = 0
    LEAVE = 1
    STEP = 2


# The cost of a way, what is next, a state, and bytes to take from there.
_Way = tuple[float, _Task, _State, bytes]
# What a way has cost so far, what is next, a number that keeps order, a state, a byte to take.
_Entry = tuple[float, _Task, int, _State, bytes]


def _costs(choices: bytes) -> list[int]:
    return _TEXT_COSTS if len(choices) > _NUM_TEXT_CHOICES else _COSTS


def _order(choices: bytes) -> bytes:
    """Returns bytes, the cheapest first."""
    return bytes(sorted(choices, key=_costs(choices).__getitem__))


def next_tokens(engine: Engine, texts: TokenTexts) -> Bits | None:
    """Returns the tokens that may come next, or None where the engine has given up.

    An engine that has given up would allow the end instead.
    """
    bits = np.zeros(texts.num_words, np.uint32)
    num_bytes = -(-len(texts.texts) // 32) * bits.itemsize
    engine.unsafe_compute_mask_ptr(bits.ctypes.data, num_bytes)
    return None if engine.is_error() else bits


def ends_with(
    engine: Engine, texts: TokenTexts, ending: bytes, first: Sequence[int] = ()
) -> bool:
    """Returns whether some tokens, and then a text, make the answer whole."""
    tokens = [*first, *texts.spell_bytes(ending[:_GLANCE])]
    if len(ending) > _GLANCE:
        if engine.validate_tokens(tokens) < len(tokens):
            return False  # without a look at the rest, which may be long
        tokens += texts.spell_bytes(ending[_GLANCE:])
    tokens.append(texts.stop_ids[0])
    return engine.validate_tokens(tokens) == len(tokens)


def fits(ending: bytes, texts: TokenTexts, num_left: int) -> bool:
    """Returns whether an ending can be written in so many tokens, the end counted."""
    # It takes no more tokens than bytes.
    return len(ending) < num_left or len(texts.spell(ending)) < num_left


class EndingSearch:
    """Searches for endings, from the likely to the unlikely, and gives up in time."""

    def __init__(self, texts: TokenTexts, words: Sequence[bytes], num_states: int):
        """Makes a search.

        Args:
          texts: The tokens.
          words: What may be in an answer, and is hard to find letter by letter.
          num_states: How many states it may look at, in all.
        """
        self._texts, self._words, self._num_states = texts, words, num_states

    def find(self, engine: Engine, tails: Iterable[bytes] = ()) -> bytes | None:
        """Returns a text that makes an answer whole, if it finds one.

        Args:
          engine: The state of the answer; stays as it is.
          tails: What the ending may end with.
        """
        tails, order = tuple(tails), itertools.count()
        waiting: list[_Entry] = [(0.0, _Task.STEP, next(order), _State(engine), b"")]
        while waiting and self._num_states > 0:
            cost, task, _, state, step = heapq.heappop(waiting)
            if task is _Task.LEAVE and (tail := self._tail(state, tails)) is not None:
                return state.text + tail
            for way in self._ways(task, state, step):
                entry = cost + way[0], way[1], next(order), way[2], way[3]
                heapq.heappush(waiting, entry)
        return None

    def _ways(self, task: _Task, state: _State, step: bytes) -> Iterator[_Way]:
        """Yields what can be done next."""
        if task is _Task.LEAVE:
            yield from self._steps(state)
        elif task is _Task.RUN:
            if after := self._run(state, step):
                yield 0, _Task.LEAVE, after, b""
        elif after := self._after(state, step):
            cost = _LENGTH_COST * (len(after.text) - len(state.text))
            if state.leads_back_to(after, len(step)):
                # One of many that are needed, or of no use.
                after.has_run = True
                is_first = _order(state.choices)[:1] == step
                run_cost = _FIRST_COST if is_first else _ALIKE_COST
                yield run_cost, _Task.RUN, state, step
                cost += _ALIKE_COST
            if after.choices in state.seen and not after.is_whole:
                cost += _TWIN_COST
            state.seen.add(after.choices)
            yield cost, _Task.LEAVE, after, b""

    def _steps(self, state: _State) -> Iterator[_Way]:
        """Yields the steps from a state: the best choice is free, and so are words."""
        for word in self._words:
            ids = self._texts.spell_bytes(word)
            if state.engine.validate_tokens(ids) == len(ids):
                yield 0, _Task.STEP, state, word
        costs = _costs(state.choices)
        for rank, byte in enumerate(order := _order(state.choices)):
            cost = costs[byte] - costs[order[0]] + _RANK_COST * rank
            yield cost, _Task.STEP, state, bytes([byte])

    def _tail(self, state: _State, tails: Iterable[bytes]) -> bytes | None:
        if state.is_whole:
            return b""
        fits = (t for t in tails if ends_with(state.engine, self._texts, t))
        return next(fits, None)

    def _run(self, state: _State, byte: bytes) -> _State | None:
        """Returns the state after the fewest repetitions of a byte that differs."""
        if state.has_run:
            return None
        state.has_run = True
        most = 2
        while not self._differs(state, byte * most):
            most *= 2
            if most > _LONGEST_RUN:
                return None
        counts = range(most // 2 + 1, most + 1)
        place = bisect.bisect_left(
            counts, True, key=lambda count: self._differs(state, byte * count)
        )
        return self._after(state, byte * counts[place])

    def _differs(self, state: _State, step: bytes) -> bool:
        after = self._after(state, step)
        return after is None or not state.leads_back_to(after, len(step))

    def _after(self, state: _State, step: bytes) -> _State | None:
        """Returns the state after some bytes and those that they force."""
        if self._num_states <= 0:
            return None
        # To copy a state takes longer the more brackets are open, perhaps without end.
        num_open = sum(state.text.count(b) for b in (b"{", b"["))
        num_closed = sum(state.text.count(b) for b in (b"}", b"]"))
        self._num_states -= 1 + max(num_open - num_closed, 0) // 8
        engine = state.engine.deep_copy()
        if not engine.consume_tokens(self._texts.spell_bytes(step)):
            return None
        forced = engine.compute_ff_bytes()
        text = state.text + step + forced
        if len(text) > _LONGEST:  # perhaps without end
            return None
        if not engine.consume_tokens(self._texts.spell_bytes(forced)):
            return None
        bits = next_tokens(engine, self._texts)
        if bits is None:
            return None
        choices = self._texts.next_bytes(bits)
        return _State(engine, text, choices, engine.is_accepting())


def bridge(engine: Engine, texts: TokenTexts, ending: bytes) -> bytes | None:
    """Returns the few bytes after which an ending is one, or None.

    They end a character or an escape, or make a name longer; no quote is among them.
    """
    if ends_with(engine, texts, ending):
        return b""
    engine, way = engine.deep_copy(), b""
    for _ in range(_LONGEST_BRIDGE):
        bits = next_tokens(engine, texts)
        choices = b"" if bits is None else texts.next_bytes(bits)
        ids = [texts.byte_ids[byte] for byte in choices if byte not in b'"\\']
        for token_id in ids:
            if ends_with(engine, texts, ending, first=[token_id]):
                return way + texts.texts[token_id]
        if not ids:
            return None
        engine.consume_token(ids[0])
        way += texts.texts[ids[0]]
    return None


class LastEndings:
    """The ending that each text had last, and will often have again."""

    def __init__(self) -> None:
        """Knows nothing yet."""
        self._places: dict[bytes, int] = {}
        self._endings: dict[bytes, bytes] = {}

    def note(self, text: bytes, ending: bytes, tails: list[bytes]) -> None:
        """Takes note of an ending: the same tail will do when the tails are others."""
        if ending in tails:
            self._places[text] = tails.index(ending)
            self._endings.pop(text, None)
        else:
            self._endings[text] = ending

    def of(self, text: bytes, tails: list[bytes]) -> list[bytes]:
        """Returns what to try first, if anything."""
        if text in self._endings:
            return [self._endings[text]]
        place = self._places.get(text, 0)
        return tails[place : place + 1]


class Trials:
    """Tries which endings there are after texts, in one state of an answer.

    An ending of this state is known.
    """

    def __init__(
        self,
        engine: Engine,
        texts: TokenTexts,
        ending: Ending,
        search: EndingSearch,
        last: LastEndings,
    ):
        """Makes trials.

        Args:
          engine: The state.
          texts: The tokens.
          ending: What makes the answer whole.
          search: Finds what is not tried.
          last: What texts had in other states; changes with the trials.
        """
        self._engine, self._texts = engine, texts
        self._search, self._last = search, last
        self._known, self._tails = [ending.text], _tails(ending.text)
        self._found: deque[bytes] = deque(maxlen=_MAX_FOUND)

    def endings(self, texts: Iterable[bytes]) -> dict[bytes, bytes]:
        """Returns the endings that it finds after some texts."""
        tried = ((text, self._ending_after(text)) for text in dict.fromkeys(texts))
        return {text: ending for text, ending in tried if ending is not None}

    def _ending_after(self, text: bytes) -> bytes | None:
        for known in self._known:
            if known.startswith(text):
                return known[len(text) :]
        ids = self._texts.spell_bytes(text)
        tails = [*self._tails, *self._found]
        for tail in dict.fromkeys((*self._last.of(text, self._tails), *tails)):
            if ends_with(self._engine, self._texts, tail, first=ids):
                self._last.note(text, tail, self._tails)
                return tail
        engine = self._engine.deep_copy()
        engine.consume_tokens(ids)
        ending = self._search.find(engine, tails)
        if ending is not None:
            # Others may go the same way, or end the same way.
            self._known.append(text + ending)
            self._found.append(ending)
            self._last.note(text, ending, self._tails)
        return ending


def _tails(ending: bytes) -> list[bytes]:
    """Returns parts of an ending that may also end what another token has begun."""
    starts = (i + 1 for i, byte in enumerate(ending) if byte in b'",:}]')
    starts = [1, 0, *itertools.islice(starts, _MAX_TAILS), len(ending)]
    return list(dict.fromkeys(ending[start:] for start in starts))
