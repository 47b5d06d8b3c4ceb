"""What begins with a slash is for us, not for the model."""

import contextlib
import dataclasses
import difflib
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gemma.cli.chat._params import changed_params, shown_params
from gemma.cli.chat._session import ChatSession, check_system
from gemma.cli.errors import CommandError

if TYPE_CHECKING:
    from gemma.gm.dialog import Turn


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What is to be done after a line was read.

    Attributes:
      words: What to show.
      question: What to say to the model.
      again: Whether the question is the last one, asked once more.
      leaves: Whether the program ends.
    """

    words: str = ""
    question: "Turn | None" = None
    again: bool = False
    leaves: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """A slash command.

    Attributes:
      name: What stands behind the slash.
      run: Does it, given the text behind the name.
      argument: What that text is, for the help; "" if there is none.
      help: What it does.
      completes: What Tab knows of the argument.
    """

    name: str
    run: Callable[[ChatSession, str], Outcome]
    argument: str
    help: str
    completes: Literal["path", "params"] | None = None


def interpret(line: str, session: ChatSession) -> Outcome:
    """Returns what a line asks for; what it changes in the session is changed.

    Raises:
      ValueError: There is no such command, or it cannot be done.
      OSError: A file cannot be read or written.
    """
    text = line.strip()
    if text.startswith("//"):
        return Outcome(question=session.message(text[1:]))
    if not text.startswith("/"):
        return Outcome(question=session.message(text))
    name, *rest = text[1:].split(maxsplit=1) or [""]
    command = _found(name)
    argument = rest[0] if rest else ""
    if argument and not command.argument:
        raise CommandError(
            f"/{command.name} takes nothing behind it.",
            hint=f"For a message that begins so, write /{text}",
        )
    return command.run(session, argument)


def _found(name: str) -> Command:
    by_name = {command.name: command for command in COMMANDS} | _ALSO
    if name in by_name:
        return by_name[name]
    close = difflib.get_close_matches(name.lower(), by_name, n=1)
    near = f"Did you mean /{close[0]}?" if close else "/help lists what there is."
    raise ValueError(
        f"There is no command /{name}. {near} A message that begins with a slash is "
        "written with two."
    )


def _help(session: ChatSession, argument: str) -> Outcome:
    del session, argument
    rows = [(f"/{c.name} {c.argument}", c.help) for c in COMMANDS]
    width = max(len(usage) for usage, _ in rows)
    lines = [f"{usage:<{width}}  {what}" for usage, what in rows]
    return Outcome(words="\n".join([*lines, "", *_KEYS]))


def _system(session: ChatSession, argument: str) -> Outcome:
    chat = session.chat
    if argument:
        check_system(chat)
        chat.system = None if argument in ('""', "''") else argument
    if chat.system is None:
        return Outcome(words="There is no system prompt.")
    return Outcome(words=f"System prompt: {chat.system}")


def _image(session: ChatSession, argument: str) -> Outcome:
    from gemma.gm.dialog import Conversation, Image, Turn

    if not argument:
        names = [str(image.source) for image in session.images]
        return Outcome(words="\n".join(names) or "No image is attached.")
    path = _path(argument).absolute()
    if not path.is_file():
        raise CommandError(f"There is no file {path}.", hint="/image PATH")
    image = Image(path)
    # A model without eyes says so now.
    session.chat.sampler.encode(Conversation((Turn.user(image, "What is this?"),)))
    session.images.append(image)
    return Outcome(words=f"{path.name} goes with the next message.")


def _save(session: ChatSession, argument: str) -> Outcome:
    from gemma.gm.dialog import save_conversation

    path = _required_path(argument, "/save")
    if not session.chat.turns:
        raise ValueError("Nothing was said yet: there is nothing to save.")
    if path.exists() and path.resolve() not in session.files:
        raise CommandError(f"{path} exists.", hint="Choose another name or remove it.")
    save_conversation(session.chat.conversation, path)
    session.files.add(path.resolve())
    return Outcome(words=f"Saved to {path}.")


def _load(session: ChatSession, argument: str) -> Outcome:
    from gemma.gm.dialog import Role, load_conversation

    path, chat = _required_path(argument, "/load"), session.chat
    chat.conversation = load_conversation(path)
    session.files.add(path.resolve())
    is_answered = chat.turns[-1].role is Role.MODEL
    question = None if is_answered else chat.turns.pop()
    words = f"Loaded {path}: {len(chat.turns)} turns, {session.num_tokens:,} tokens."
    if question is not None:
        words += f" It ends with a question: {question.text}"
    return Outcome(words=words, question=question)


def _retry(session: ChatSession, argument: str) -> Outcome:
    del argument
    if not session.chat.turns:
        raise ValueError("There is no answer to ask for again.")
    words = ""
    if session.params.sampling.temperature == 0:
        words = "At temperature 0 the answer will be the same: /params temperature=1"
    return Outcome(words=words, question=session.chat.turns[-2], again=True)


def _undo(session: ChatSession, argument: str) -> Outcome:
    del argument
    question = session.chat.undo()
    first, *more = question.text.strip().splitlines() or [""]
    return Outcome(words=f"Taken back: {first}{' ...' if more else ''}")


def _params(session: ChatSession, argument: str) -> Outcome:
    if argument:
        session.params = changed_params(session.params, argument)
    return Outcome(words=shown_params(session.params))


def _clear(session: ChatSession, argument: str) -> Outcome:
    del argument
    session.chat.reset()
    session.images.clear()
    kept = "" if session.chat.system is None else " The system prompt stays."
    return Outcome(words=f"The conversation is forgotten.{kept}")


def _exit(session: ChatSession, argument: str) -> Outcome:
    del session, argument
    return Outcome(leaves=True)


def _required_path(argument: str, command: str) -> Path:
    if not argument:
        raise CommandError(f"{command} needs a file.", hint=f"{command} PATH")
    return _path(argument)


def _path(text: str) -> Path:
    """Returns a path that was typed, spaces and all, or pasted with a shell's quotes."""
    path = Path(os.path.expanduser(text))
    is_quoted = any(mark in text for mark in ("'", '"', "\\ "))
    if is_quoted and not path.exists():
        with contextlib.suppress(ValueError):  # a quote that is not closed
            (text,) = shlex.split(text)
            path = Path(os.path.expanduser(text))
    return path


COMMANDS = (
    Command("help", _help, "", "Show this."),
    Command("system", _system, "[TEXT]", 'Show or set the system prompt; "" for none.'),
    Command("image", _image, "[PATH]", "Attach an image to the next message.", "path"),
    Command("save", _save, "PATH", "Write the conversation to a file.", "path"),
    Command("load", _load, "PATH", "Go on with a conversation in a file.", "path"),
    Command("retry", _retry, "", "Ask the last question again, with another seed."),
    Command("undo", _undo, "", "Take back the last question and its answer."),
    Command(
        "params",
        _params,
        "[NAME=VALUE ...]",
        "Show or set how answers are made.",
        "params",
    ),
    Command("clear", _clear, "", "Forget the conversation, but not the system prompt."),
    Command("exit", _exit, "", "Leave; so does Ctrl-D."),
)
_ALSO = {"quit": COMMANDS[-1]}
_KEYS = (
    "//text         A message that begins with one slash.",
    "Alt-Enter, \\   A new line; \\ stands at the end of one.",
    "Ctrl-C         Stops an answer, or clears the line.",
    "Tab            Completes commands, parameters and paths.",
)
