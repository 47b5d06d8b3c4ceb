"""Answers while they are made."""

import contextlib
import dataclasses
import time
from collections.abc import Generator, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from gemma.gm.kernels import ALONE, Exchange, can_exchange
from gemma.gm.nn import Transformer, in_mesh_of
from gemma.gm.text._cache_pool import CachePool
from gemma.gm.text._decode import MAX_STEPS, MAX_STOP_IDS, Choice, Decoded
from gemma.gm.text._draw import logprobs_of
from gemma.gm.text._generation import GrowingRow, Piece, TokenLogprobs
from gemma.gm.text._penalties import History, start_history
from gemma.gm.text._pictures import Picture, image_starts
from gemma.gm.text._prefill import prefill, see_image
from gemma.gm.text._programs import Programs
from gemma.gm.text._prompts import EncodedPrompt
from gemma.gm.text._state import State
from gemma.gm.text._waiting import wait_for
from gemma.gm.typing import Cache, Params, Progress

# Steps of a call that asks for nothing: some hundredths of a second. Where an answer ends, twice
# as many may have been for nothing.
STEPS_A_CALL = 4
# Calls that take longer are waited for in a way that hears Ctrl-C.
_SLOW_S = 0.1

_logprobs_of = jax.jit(logprobs_of, static_argnames="num_top")


@dataclasses.dataclass(frozen=True, slots=True)
class Runtime:
    """What answers are made with.

    Attributes:
      model: The model.
      params: Its params.
      programs: Its programs for these rows.
      caches: Where caches come from and go to.
      cache_length: The most tokens of a row.
    """

    model: Transformer
    params: Params
    programs: Programs
    caches: CachePool
    cache_length: int


@dataclasses.dataclass(frozen=True, slots=True)
class Questions:
    """What is asked: a prompt a row, and how its answer is made.

    Attributes:
      rows: The answers, which grow.
      prompts: What they answer.
      choice: How their tokens are chosen.
      stop_ids: Tokens that end an answer.
      num_logprobs: How many log-probabilities come with each token, if any.
      num_known: How many tokens have a text; rows of the embedding beyond have none.
      last_state: What was computed before, if anything.
      progress: Called with the tokens of the prompts read so far and in all.
    """

    rows: list[GrowingRow]
    prompts: list[EncodedPrompt]
    choice: Choice
    stop_ids: frozenset[int]
    num_logprobs: int | None
    num_known: int
    last_state: State | None
    progress: Progress | None = None


class Stream(Iterator[Piece]):
    """Yields each token as it is made; it changes as one iterates.

    Whoever stops before the end may close it, and can go on from its state.
    """

    def __init__(self, runtime: Runtime, questions: Questions, *, keeps_state: bool):
        """Makes a stream; nothing is computed before the first piece is asked for.

        Args:
          runtime: What answers are made with.
          questions: What is asked.
          keeps_state: Whether `state` will be asked for; if not, the cache serves
            another answer.
        """
        self._runtime = runtime
        self._asked = questions
        self._keeps_state = keeps_state
        self._cache: Cache | None = None
        self._pieces = self._run()

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Piece:
        # Weights of one device need no mesh, and this runs for each token.
        with in_mesh_of(self._runtime.params["final_norm"]):
            return next(self._pieces)

    @property
    def prompts(self) -> list[EncodedPrompt]:
        """What it answers."""
        return self._asked.prompts

    def close(self) -> None:
        """Ends it now."""
        self._pieces.close()

    @property
    def state(self) -> State | None:
        """What is known now; ends the stream. None if nothing was computed yet."""
        if not self._keeps_state:
            raise ValueError("This stream keeps no state: pass return_state=True.")
        self.close()
        if self._cache is None or _is_lost(self._cache):
            return None
        return State(
            self._runtime.model,
            self._runtime.params,
            tuple(
                prompt._replace(token_ids=row.token_ids)
                for prompt, row in zip(
                    self._asked.prompts, self._asked.rows, strict=True
                )
            ),
            self._cache,
            self._runtime.cache_length,
        )

    def _run(self) -> Generator[Piece, None, None]:
        """Yields pieces until every row has ended."""
        rows = self._asked.rows
        if not rows:
            return
        with contextlib.closing(self._steps()) as steps:
            for step in steps:
                yield from self._push(step)
                if all(row.finish_reason is not None for row in rows):
                    break
        if not self._keeps_state and self._cache is not None:
            self._runtime.caches.give(len(rows), self._cache)

    def _steps(self) -> Generator["_Step", None, None]:
        if all(row.matcher is None for row in self._asked.rows):
            return self._free_steps()
        if self._asked.num_logprobs is None and can_exchange(self._runtime.params):
            return self._discussed_steps()
        return self._single_steps()

    def _free_steps(self) -> Generator["_Step", None, None]:
        """Yields steps, while the device takes the next ones already.

        It never waits for the host. At an early end, the last steps are for nothing.
        """
        made, room = self._begin(), self._room - 1
        is_slow = True  # the first call waits for the prompt
        while True:
            step = made
            if room > 0:
                one_by_one = made.logits is not None
                num_steps = min(room, 1 if one_by_one else STEPS_A_CALL)
                made = self._go_on(made, num_steps)
                room -= num_steps
            begin_s = time.monotonic()
            if is_slow:
                wait_for(step.tokens)
            all_tokens = np.asarray(step.tokens)[: int(step.num_steps)]
            is_slow = time.monotonic() - begin_s > _SLOW_S
            for tokens in all_tokens:
                yield _Step(tokens, step.logits)

    def _discussed_steps(self) -> Generator["_Step", None, None]:
        """Yields steps of calls that ask, before each choice, which tokens may come.

        They take a token in while the host looks at it.
        """
        with Exchange(len(self._asked.rows)) as exchange:
            exchange.say(self._allowed(), self._active)
            made, num_left = self._begin(exchange=exchange.key), 1
            while True:
                tokens = exchange.take() if num_left > 0 else None
                if tokens is not None:
                    num_left -= 1
                    yield _Step(tokens, None)
                    exchange.say(self._allowed(), self._active)
                elif num_left == 0 or _is_over(made):  # the host may have been late
                    num_left = min(self._room, MAX_STEPS)
                    made = self._go_on(made, num_left, exchange=exchange.key)

    def _single_steps(self) -> Generator["_Step", None, None]:
        """Yields steps of calls that are told which tokens may come."""
        made = self._begin(allowed=self._allowed())
        while True:
            wait_for(made.last)
            yield _Step(np.asarray(made.last), made.logits)
            made = self._go_on(made, 1, allowed=self._allowed())

    def _begin(self, **options: Any) -> Decoded:
        """Takes the first step."""
        # A token of the prompt ends nothing.
        end = _padded(()), np.int32(1)
        last, history = self._last_of_prompts, self._start_history()
        return self._decode(self._filled_cache(), last, history, *end, **options)

    def _go_on(self, made: Decoded, num_steps: int, **options: Any) -> Decoded:
        """Takes at most so many steps after others."""
        end = _padded(self._asked.stop_ids), np.int32(num_steps)
        return self._decode(made.cache, made.last, made.history, *end, **options)

    def _decode(
        self,
        cache: Cache,
        last: Any,
        history: Any,
        stop_ids: np.ndarray,
        limit: np.int32,
        *,
        allowed: np.ndarray | None = None,
        exchange: np.ndarray = ALONE,
    ) -> Decoded:
        choice, run = self._asked.choice, self._runtime
        if allowed is not None:
            choice = choice._replace(allowed=allowed)
        state = run.params, cache, last, self._active, choice, history
        made = run.programs.decode_steps(*state, stop_ids, limit, exchange)
        self._cache = made.cache
        return made

    @property
    def _room(self) -> int:
        """How many tokens may come at most."""
        return max(row.room for row in self._asked.rows)

    @property
    def _active(self) -> np.ndarray:
        """Which rows go on."""
        return np.array([row.finish_reason is None for row in self._asked.rows])

    @property
    def _last_of_prompts(self) -> np.ndarray:
        return np.array([row.token_ids[-1] for row in self._asked.rows], np.int32)

    def _allowed(self) -> np.ndarray:
        """Returns which tokens may come next in each row, a bit each."""
        allowed = np.array(self._asked.choice.allowed)
        for words, row in zip(allowed, self._asked.rows, strict=True):
            if row.matcher is not None and row.finish_reason is None:
                words &= row.matcher.allowed
                if not words.any():
                    raise ValueError(
                        "The forbidden tokens leave nothing that the constraint allows."
                    )
        return allowed

    def _filled_cache(self) -> Cache:
        """Returns a cache with all tokens of the prompts but the last."""
        prompts, state, run = self._asked.prompts, self._asked.last_state, self._runtime
        lengths = [0] * len(prompts)
        if state is None:
            cache = run.caches.take(len(prompts), run.programs.init_cache)
        else:
            lengths = state.shared_lengths(prompts)
            cache = state.cache_of(lengths)
        rest = zip(prompts, lengths, strict=True)
        return prefill(
            run.params,
            cache,
            [prompt.token_ids[n:] for prompt, n in zip(prompts, lengths, strict=True)],
            feed=run.programs.feed_chunk,
            images=[self._seen(prompt, n) for prompt, n in rest],
            progress=self._asked.progress,
        )

    def _seen(self, prompt: EncodedPrompt, begin: int) -> dict[int, np.ndarray]:
        """Returns the vectors of the images after a place, by where they stand then."""
        starts = image_starts(prompt.token_ids, self._runtime.model.config.vision)
        return {
            start - begin: self._vectors_of(picture)
            for start, picture in zip(starts, prompt.pictures, strict=True)
            if start >= begin
        }

    def _vectors_of(self, picture: Picture) -> np.ndarray:
        run = self._runtime
        seen = see_image(run.model, run.params, picture.pixels[None])
        wait_for(seen)
        return np.asarray(seen)[0].astype(np.float32)

    def _start_history(self) -> History | None:
        if self._asked.choice.screen is not None:
            return None
        vocab_size = self._runtime.model.config.vocab_size
        return start_history([row.token_ids for row in self._asked.rows], vocab_size)

    def _push(self, step: "_Step") -> Iterator[Piece]:
        """Hands each row that goes on its token of a step."""
        rows = self._asked.rows
        logprobs: list[TokenLogprobs | None] = [None] * len(rows)
        if self._asked.num_logprobs is not None:
            logprobs = _host_logprobs(
                step, self._asked.num_logprobs, self._asked.num_known
            )
        for row, token_id, logprob in zip(rows, step.tokens, logprobs, strict=True):
            if row.finish_reason is None:
                yield row.push(int(token_id), logprob)


class _Step(NamedTuple):
    """A token for each row, and the logits it was chosen from if they are asked for."""

    tokens: Int[np.ndarray, "B"]
    logits: Float[Array, "B V"] | None


def _padded(stop_ids: Iterable[int]) -> np.ndarray:
    """Returns as many stop ids as a program takes; the host finds what is left."""
    some = sorted(stop_ids)[:MAX_STOP_IDS]
    return np.array([*some, *[-1] * (MAX_STOP_IDS - len(some))], np.int32)


def _is_over(made: Decoded) -> bool:
    """Returns whether a call has ended; raises what it ended with."""
    if not made.num_steps.is_ready():  # pyright: ignore
        return False
    jax.block_until_ready(made.num_steps)
    return True


def _is_lost(cache: Cache) -> bool:
    """Returns whether the cache was given away: Ctrl-C may fall between two calls."""
    return any(leaf.is_deleted() for leaf in jax.tree.leaves(cache))


def _host_logprobs(
    step: _Step, num_top: int, num_known: int
) -> list[TokenLogprobs | None]:
    assert step.logits is not None
    known = step.logits[:, :num_known]
    num_top = min(num_top, num_known)
    found = jax.device_get(_logprobs_of(known, step.tokens, num_top=num_top))
    return [
        TokenLogprobs(
            float(chosen), tuple(zip(ids.tolist(), top.tolist(), strict=True))
        )
        for chosen, ids, top in zip(*found, strict=True)
    ]
