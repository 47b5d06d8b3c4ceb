"""A conversation as one at a terminal sees it: what is said, attached and counted."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from gemma.cli.chat._interrupt import CtrlC
from gemma.cli.chat._params import ChatParams
from gemma.cli.errors import CommandError
from gemma.cli.stopwatch import Stopwatch

if TYPE_CHECKING:
    from gemma.gm.dialog import Image, Turn
    from gemma.gm.text import ChatSampler, Constraint


class AnswerView(Protocol):
    """Where an answer is shown while it is made."""

    def read(self, done: int, total: int) -> None:
        """Shows how many tokens of the conversation are read."""
        ...

    def show(self, text: str) -> None:
        """Shows the next text of the answer."""
        ...


ShowAnswer: TypeAlias = Callable[[], AbstractContextManager[AnswerView]]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """How an answer went.

    Attributes:
      text: What was said.
      num_tokens: Its tokens.
      was_stopped: Whether Ctrl-C ended it.
      was_cut: Whether it had no room to go on.
      num_forgotten: How many turns had to go to make room.
      finish_reason: Why it ended; None if Ctrl-C ended it.
    """

    text: str
    num_tokens: int
    was_stopped: bool
    was_cut: bool
    num_forgotten: int
    finish_reason: str | None


class ChatSession:
    """A conversation, and all that slash commands change.

    Attributes:
      name: What the model is called.
      chat: The conversation.
      images: What goes with the next message.
      files: Conversations that were saved or loaded, and may be saved again.
      rate: Tokens a second of the last answer, if it had two.
      ways_out: What to do when the cache is full.
      constraint: What answers must match, if anything.
    """

    def __init__(
        self,
        name: str,
        chat: "ChatSampler",
        params: ChatParams,
        *,
        drop_oldest: bool,
        ways_out: str = "",
        constraint: "Constraint | None" = None,
    ):
        self.name = name
        self.chat = chat
        self.images: list[Image] = []
        self.files: set[Path] = set()
        self.rate: float | None = None
        self.ways_out = ways_out
        self.constraint = constraint
        self._drop_oldest = drop_oldest
        self.params = params

    @property
    def params(self) -> ChatParams:
        """How answers are made. May be set: then draws begin at the seed anew."""
        return self._params

    @params.setter
    def params(self, params: ChatParams) -> None:
        self._params, self._num_asked = params, 0

    @property
    def num_tokens(self) -> int:
        """How many tokens the conversation has."""
        return self._count_tokens(self.chat.turns) if self.chat.turns else 0

    def status(self) -> str:
        """Returns a line about the model, its speed and its cache."""
        speed = [f"{self.rate:.1f} tok/s"] if self.rate else []
        used = f"cache {self.num_tokens:,} / {self._cache_length:,}"
        count = len(self.images)
        attached = [f"{count} image{'s' * (count > 1)} attached"] if count else []
        return " · ".join([self.name, *speed, used, *attached])

    def message(self, text: str) -> "Turn":
        """Returns what a person says, with the images that are attached."""
        from gemma.gm.dialog import Turn

        parts, self.images = [*self.images, text], []
        return Turn.user(*parts)

    def ask(
        self, question: "Turn", show_answer: ShowAnswer, *, again: bool = False
    ) -> Answer:
        """Says something; shows the answer as it is made.

        When there is no answer, nothing was said.

        Args:
          question: What to say.
          show_answer: Gives what is told of the prompt and of each text of the answer.
          again: Whether it takes the place of the last question and its answer.

        Raises:
          ValueError: The conversation does not fit the cache, or the model cannot read
            the question.
        """
        before, is_said = list(self.chat.turns), False
        try:
            if again:
                self.chat.undo()
            self._check_room(question)
            answer = self._answer(question, show_answer)
            is_said = bool(answer.text) or not answer.was_stopped
            return answer
        finally:
            if not is_said:
                self.chat.turns = before

    def _answer(self, question: "Turn", show_answer: ShowAnswer) -> Answer:
        params, seed, num_turns = self.params, self.params.seed, len(self.chat.turns)
        pieces, watch = [], Stopwatch()
        with CtrlC() as ctrl_c:
            stream = self.chat.stream(
                question,
                sampling=params.sampling,
                max_new_tokens=min(params.max_new_tokens, self._cache_length),
                rng=None if seed is None else seed + self._num_asked,
                constraint=self.constraint,
                progress=lambda done, total: view.read(done, total),
            )
            self._num_asked += 1
            num_kept = len(self.chat.turns)
            try:
                with contextlib.suppress(KeyboardInterrupt), show_answer() as view:
                    for piece in watch.watch(stream):
                        ctrl_c.waits = True
                        pieces.append(piece)
                        view.show(piece.text)
                        if ctrl_c.was_pressed:
                            break
            finally:
                stream.close()  # which records what was said
        self.rate = watch.rate if len(pieces) > 1 else None
        return Answer(
            text="".join(piece.text for piece in pieces),
            num_tokens=len(pieces),
            was_stopped=ctrl_c.was_pressed,
            was_cut=bool(pieces) and pieces[-1].finish_reason == "length",
            num_forgotten=num_turns - num_kept,
            finish_reason=pieces[-1].finish_reason if pieces else None,
        )

    def _check_room(self, question: "Turn") -> None:
        """Refuses a message that leaves no room for an answer, before it is read."""
        length = self._cache_length
        num_tokens = self._count_tokens([*self.chat.turns, question])
        if num_tokens < length:
            return
        num_alone = self._count_tokens([question])
        if num_alone >= length:
            raise CommandError(
                f"The message alone has {num_alone:,} tokens, and the cache holds "
                f"{length:,} with the answer.",
                hint="Shorten it, or start with a larger --cache-length.",
            )
        if not self._drop_oldest:
            raise ValueError(
                f"With this message the conversation has {num_tokens:,} tokens, and the "
                f"cache holds {length:,} with the answer. {self.ways_out}"
            )

    @property
    def _cache_length(self) -> int:
        return self.chat.sampler.cache_length

    def _count_tokens(self, turns: "Sequence[Turn]") -> int:
        from gemma.gm.dialog import Conversation, Turn

        system = [] if self.chat.system is None else [Turn.system(self.chat.system)]
        return len(self.chat.sampler.encode(Conversation((*system, *turns))))


def check_system(chat: "ChatSampler") -> None:
    """Refuses a system prompt for a family that has none."""
    family, template = chat.sampler.format, chat.sampler.tokenizer.chat_template
    if template is not None and template.format(family) is None:
        return  # it is not the family's, and refuses what it cannot write itself
    if not family.has_system:
        raise ValueError(
            f"{family.name} has no system prompt. Put the instructions into the first "
            "message."
        )
