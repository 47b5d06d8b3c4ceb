"""A conversation that grows."""

import copy
import dataclasses
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gemma.gm._numbers import check_count
from gemma.gm.ckpts import Progress
from gemma.gm.dialog import (
    Conversation,
    Image,
    Role,
    Text,
    Turn,
    fill_placeholders,
)
from gemma.gm.nn import Transformer
from gemma.gm.text._answer_defaults import AnswerDefaults, either
from gemma.gm.text._conversation_room import fit_turns
from gemma.gm.text._custom_sampling import AnySampling
from gemma.gm.text._generation import Piece
from gemma.gm.text._pictures import as_sources, without_padding
from gemma.gm.text._printing import printer
from gemma.gm.text._reading import Reading
from gemma.gm.text._sampler import Sampler
from gemma.gm.text._state import State
from gemma.gm.text._stream import Stream
from gemma.gm.text._tokenizer import Tokenizer
from gemma.gm.typing import DType, Params


class ChatSampler(AnswerDefaults):
    """Talks with a model, turn by turn; what it says depends on what was said.

    The model reads the conversation as if it was written down from scratch in each turn.
    What the cache holds of it is not computed again, so a turn costs its own tokens.

    Attributes:
      turns: The conversation so far, without the system prompt.
      system: The system prompt, or None.
      multi_turn: Whether a turn follows the ones before.
      last_state: Tokens, cache and logits after the last answer; None before it.
      print_stream: Whether answers are printed as they are made, or what is called.
      sampling, forbidden_tokens, stop_tokens, max_out_length: As passed; may be set.

    Example:
      ```python
      chat = gm.text.ChatSampler(model=model, params=params, multi_turn=True)
      chat.chat("Write a poem about cats.")
      chat.chat("And about dogs.")
      ```
    """

    def __init__(
        self,
        *,
        model: Transformer,
        params: Params,
        multi_turn: bool = False,
        tokenizer: Tokenizer | None = None,
        sampling: AnySampling | None = None,
        forbidden_tokens: Sequence[str | int] | None = None,
        stop_tokens: Sequence[str | int] | None = None,
        cache_length: int | None = 4096,
        max_out_length: int = 2048,
        pad_length: int | Sequence[int] | None = None,
        pan_and_scan: bool = False,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        drop_oldest: bool = False,
        system: str | None = None,
        turns: Sequence[Turn] = (),
        last_state: State | None = None,
        print_stream: bool | Callable[[str], object] = False,
    ):
        """Makes a conversation, by default an empty one.

        Args:
          model: The model.
          params: Its params.
          multi_turn: Whether a turn follows the ones before, or begins anew.
          tokenizer: As for `Sampler`: by default the model's, or its family's.
          sampling: How tokens are chosen; greedy by default. "model" for what the
            checkpoint's files recommend.
          forbidden_tokens: Ids, or strings of a single token, that are never chosen.
          stop_tokens: Ids, or strings of a single token, that end an answer too.
          cache_length: The most tokens of all turns together.
          max_out_length: The most tokens of one answer.
          pad_length: Has no effect: prompts go through the model in chunks.
          pan_and_scan: Whether long images come with crops of their parts.
          chat_template_kwargs: Variables of the checkpoint's own chat template, if it is
            not one that Google published.
          drop_oldest: When a turn does not fit the cache, forget the oldest turns, but
            not the system prompt. Otherwise it is an error.
          system: The system prompt.
          turns: What was said before, to go on from.
          last_state: What was computed before, by a sampler of the same params.
          print_stream: Print answers as they are made; or a function to call with each
            new text.

        Raises:
          ValueError: See `Sampler`; or the turns are no conversation.
        """
        super().__init__(
            sampling=sampling,
            forbidden_tokens=forbidden_tokens,
            stop_tokens=stop_tokens,
            max_out_length=check_count("max_out_length", max_out_length, at_least=1),
            pad_length=pad_length,
        )
        self._sampler = Sampler(
            model=model,
            params=params,
            tokenizer=tokenizer,
            cache_length=cache_length,
            pan_and_scan=pan_and_scan,
            chat_template_kwargs=chat_template_kwargs,
        )
        self.multi_turn = multi_turn
        self.system = system
        self.turns = list(turns)
        self.last_state = last_state
        self._drop_oldest = drop_oldest
        self.print_stream = print_stream
        if self.turns:
            self._sampler.encode(self.conversation)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | Reading | None = None,
        *,
        dtype: DType | None = None,
        cache_length: int | None = None,
        pan_and_scan: bool = False,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> "ChatSampler":
        """Loads a model; see `Sampler.from_pretrained` for what is not said here.

        Args:
          name: A folder, a file or the name of a published model.
          dtype: Dtype of the weights.
          cache_length: The most tokens of all turns together.
          pan_and_scan: Whether long images come with crops of their parts.
          chat_template_kwargs: Variables of the checkpoint's own chat template.
          progress: Called with the bytes of weights made so far and in all.
          **options: Of the constructor.
        """
        sampler = Sampler.from_pretrained(
            name,
            dtype=dtype,
            cache_length=cache_length,
            pan_and_scan=pan_and_scan,
            chat_template_kwargs=chat_template_kwargs,
            progress=progress,
        )
        chat = cls(
            model=sampler.model,
            params=sampler.params,
            tokenizer=sampler.tokenizer,
            cache_length=sampler.cache_length,
            **options,
        )
        chat._sampler = sampler  # whose programs are compiled
        return chat

    @property
    def sampler(self) -> Sampler:
        """What makes the answers."""
        return self._sampler

    @property
    def conversation(self) -> Conversation:
        """The system prompt, if any, and all turns. May be set."""
        system = [] if self.system is None else [Turn.system(self.system)]
        return Conversation((*system, *self.turns))

    @conversation.setter
    def conversation(self, conversation: Conversation) -> None:
        self._sampler.encode(conversation)
        turns = list(conversation.turns)
        is_led = bool(turns) and turns[0].role is Role.SYSTEM
        self.system = turns.pop(0).text if is_led else None
        self.turns = turns

    def chat(
        self,
        prompt: str | Turn | Conversation | None,
        *,
        print_stream: bool | Callable[[str], object] | None = None,
        **options: Any,
    ) -> str:
        """Says something to the model; returns its answer.

        Args:
          prompt: What to say, or several turns of which the last one asks; None to go on
            from the last turn that was set or loaded: a question is answered, an answer
            continued.
          print_stream: If not None, instead of the constructor's.
          **options: See `stream`.
        """
        show = printer(self.print_stream if print_stream is None else print_stream)
        for piece in self.stream(prompt, **options):
            show(piece.text)
        return self.turns[-1].text

    def stream(
        self,
        prompt: str | Turn | Conversation | None,
        *,
        images: Any = None,
        sampling: AnySampling | None = None,
        forbidden_tokens: Sequence[str | int] | None = None,
        stop_tokens: Sequence[str | int] | None = None,
        max_new_tokens: int | None = None,
        multi_turn: bool | None = None,
        **options: Any,
    ) -> Generator[Piece, None, None]:
        """Says something to the model; yields its answer as it is made.

        Whoever stops before the end leaves the answer as it is then.

        Args:
          prompt: What to say, or a conversation that goes on from the turns so far and
            ends with a question; its system prompt, if any, becomes `system`. None to
            go on from the last turn: a question is answered; an answer is continued, and
            only what is new of it yielded.
          images: Images for the placeholders of the prompt, `<start_of_image>` for
            Gemma 3: one, several, or an array [N, H, W, C]. See `vision.read_image`
            for what an image may be.
          sampling: If not None, instead of the constructor's.
          forbidden_tokens: If not None, instead of the constructor's.
          stop_tokens: If not None, instead of the constructor's.
          max_new_tokens: The most tokens of the answer, `max_out_length` or less.
          multi_turn: If not None, instead of the constructor's.
          **options: Others of `Sampler.stream`: `rng`, `stop`, ...

        Raises:
          ValueError: An option is out of range, or the conversation does not fit the
            cache. Raised by this call, which then has changed nothing.
        """
        goes_on = self.multi_turn if multi_turn is None else multi_turn
        said, before, system = self._turns_of(prompt, images, goes_on=goes_on)
        limit = self.answer_limit(max_new_tokens)
        known, self.system = self.system, system
        try:
            kept = self._fitting([*before, *said])
            stream = self._sampler.stream(
                self._with_system(kept),
                sampling=either(sampling, self.sampling),
                max_new_tokens=limit,
                forbidden_tokens=either(forbidden_tokens, self.forbidden_tokens),
                stop_tokens=either(stop_tokens, self.stop_tokens),
                last_state=self.last_state,
                return_state=True,
                **options,
            )
        except BaseException:
            self.system = known
            raise
        self.turns = kept if prompt is None else kept[: -len(said)]
        return self._record([] if prompt is None else kept[-len(said) :], stream)

    def undo(self) -> Turn:
        """Takes the last question and its answer, if any, back; returns the question."""
        if not self.turns:
            raise ValueError("There is no turn to take back.")
        if self.turns[-1].role is Role.MODEL:
            self.turns = self.turns[:-1]
        *self.turns, question = self.turns
        return question

    def reset(self) -> None:
        """Forgets all turns."""
        self.turns, self.last_state = [], None

    def fork(self) -> "ChatSampler":
        """Returns a second conversation that begins like this one."""
        other = copy.copy(self)
        other.turns = list(self.turns)
        return other

    def _record(self, said: list[Turn], stream: Stream) -> Generator[Piece, None, None]:
        """Yields an answer; adds what was said of it to the conversation."""
        texts: list[str] = []
        was_said = True
        try:
            for piece in stream:
                texts.append(piece.text)
                yield piece
        except Exception:
            was_said = False
            raise
        finally:  # at Ctrl-C too, and where nobody asks for the rest
            if was_said:
                self._add_answer(said, "".join(texts))
            # None where Ctrl-C came while the prompt was read: the old one serves still.
            self.last_state = stream.state or self.last_state

    def _add_answer(self, said: list[Turn], text: str) -> None:
        turns = [*self.turns, *said]
        if turns[-1].role is Role.MODEL:
            # Its text was read without blanks at its ends.
            begun = turns.pop()
            parts = (Text(begun.text.strip() + text),) if text else begun.parts
            turns.append(dataclasses.replace(begun, parts=parts))
        else:
            turns.append(Turn.model(text))
        self.turns = turns

    def _turns_of(
        self, prompt: str | Turn | Conversation | None, images: Any, *, goes_on: bool
    ) -> tuple[list[Turn], list[Turn], str | None]:
        """Returns what is said now, the turns before it, and the system prompt."""
        if prompt is None:
            before, turn = self._last_turn(images)
            return [turn], before, self.system
        before = self.turns if goes_on else []
        system = self.system
        if isinstance(prompt, Conversation):
            said, led_by = _asked_by(prompt, images)
            if led_by is not None and before:
                raise ValueError(
                    "A system prompt comes before all turns: call reset(), or pass "
                    "multi_turn=False."
                )
            system = system if led_by is None else led_by
        else:
            said = [self._question(prompt, images)]
        if before and before[-1].role is Role.USER:
            raise ValueError(
                "The conversation ends with a question that has no answer. "
                "chat(None) answers it; undo() takes it back."
            )
        return said, before, system

    def _question(self, prompt: str | Turn, images: Any) -> Turn:
        """Returns what the user says; a prompt with placeholders gets its images."""
        (sources,) = as_sources(images, 1, is_single=True)
        if not isinstance(prompt, str):
            if sources:
                raise ValueError(
                    "The images of a Turn are parts of it: gm.dialog.Image."
                )
            return prompt
        if self._sampler.model.config.vision is None:
            # Placeholders are but words to a model without eyes.
            parts = [Image(source) for source in sources]
            return Turn.user(*parts, prompt)
        style = self._sampler.format
        sources = without_padding(sources, prompt.count(style.image_placeholder))
        return fill_placeholders(prompt, sources, style)

    def _last_turn(self, images: Any) -> tuple[list[Turn], Turn]:
        """Returns the turns before the one that the conversation ends with, and it."""
        if not self.turns:
            raise ValueError(
                "There is no question to answer: the conversation is empty. Pass a prompt."
            )
        if images is not None:
            raise ValueError("The images of a Turn are parts of it: gm.dialog.Image.")
        return self.turns[:-1], self.turns[-1]

    def _fitting(self, turns: list[Turn]) -> list[Turn]:
        """Returns the turns that fit the cache with an answer."""
        return fit_turns(
            turns,
            lambda turns: len(self._sampler.encode(self._with_system(turns))),
            cache_length=self._sampler.cache_length,
            drop_oldest=self._drop_oldest,
        )

    def _with_system(self, turns: Sequence[Turn]) -> Conversation:
        """Returns the turns as the model reads them."""
        text = self._system_text()
        system = [] if text is None else [Turn.system(text)]
        return Conversation((*system, *turns))

    def _system_text(self) -> str | None:
        """Returns what the model reads before the first turn."""
        return self.system


def _asked_by(conversation: Conversation, images: Any) -> tuple[list[Turn], str | None]:
    """Returns the turns of a conversation that asks, and its system prompt."""
    if images is not None:
        raise ValueError("The images of a Turn are parts of it: gm.dialog.Image.")
    turns = list(conversation.turns)
    is_led = bool(turns) and turns[0].role is Role.SYSTEM
    system = turns.pop(0).text if is_led else None
    if not turns or turns[-1].role is not Role.USER:
        raise ValueError(
            "There is no question to answer: the conversation does not end with a "
            "turn of the user."
        )
    return turns, system
