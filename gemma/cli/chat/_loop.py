"""Line after line: what people type is done, what they ask is answered."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import typer

from gemma.cli.chat._commands import interpret
from gemma.cli.chat._session import Answer, AnswerView, ChatSession, ShowAnswer
from gemma.cli.errors import INTERRUPTED, report, say
from gemma.cli.terminal import write_json


class Screen(Protocol):
    """Where a person types and reads."""

    def read(self, status: str) -> str:
        """Returns what is typed; Ctrl-D and Ctrl-C are errors."""
        ...

    def say(self, words: str) -> None:
        """Shows a remark."""
        ...

    def answer(self) -> AbstractContextManager[AnswerView]:
        """Gives what shows an answer."""
        ...


def talk(session: ChatSession, screen: Screen) -> None:
    """Talks until the person leaves; an error is said, and ends nothing."""
    is_on = True
    while is_on:
        num_images = len(session.images)
        try:
            is_on = _turn(session, screen)
        except EOFError:
            return
        except BrokenPipeError:  # nobody reads any more
            raise
        except KeyboardInterrupt:
            screen.say("Stopped.")
        except Exception as error:
            report(error)
            if num_images > len(session.images):
                screen.say("Attach images again: they went with the message.")


def answer_lines(
    session: ChatSession,
    lines: Iterable[str],
    show_answer: ShowAnswer,
    *,
    is_json: bool = False,
) -> None:
    """Answers each line in turn; with `is_json` writes an object for each answer."""
    for line in lines:
        answer = session.ask(session.message(line), show_answer)
        if is_json:
            write_json(
                {
                    "prompt": line,
                    "text": answer.text,
                    "num_tokens": answer.num_tokens,
                    "finish_reason": answer.finish_reason,
                }
            )
        if answer.was_stopped:
            raise typer.Exit(INTERRUPTED)
        for words in _remarks(session, answer):
            say(words)


def _turn(session: ChatSession, screen: Screen) -> bool:
    """Reads and does one thing; returns whether to go on."""
    try:
        line = screen.read(session.status())
    except KeyboardInterrupt:
        screen.say("Ctrl-D or /exit leaves.")
        return True
    if not line.strip():
        return True
    outcome = interpret(line, session)
    if outcome.words:
        screen.say(outcome.words)
    if outcome.question is not None:
        answer = session.ask(outcome.question, screen.answer, again=outcome.again)
        for words in _remarks(session, answer):
            screen.say(words)
    return not outcome.leaves


def _remarks(session: ChatSession, answer: Answer) -> Iterator[str]:
    """Yields what one does not see from the answer itself."""
    if answer.num_forgotten:
        yield f"The oldest {answer.num_forgotten} turns were forgotten to make room."
    if answer.was_stopped and answer.text:
        yield "Stopped; what was said stays in the conversation."
    elif answer.was_stopped:
        yield "Stopped before the first word: the message is taken back."
    elif answer.num_tokens == session.params.max_new_tokens and answer.was_cut:
        yield f"The answer was cut at {answer.num_tokens:,} tokens: max_new_tokens."
    elif answer.was_cut:
        yield f"The answer was cut: the cache is full. {session.ways_out}"
    elif not answer.text.strip():
        yield "The model has nothing to say to this."
