"""Conversation -> prompt, by the chat template that a checkpoint brings."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gemma.gm.dialog._conversation import Conversation, Role, Text, Turn
from gemma.gm.dialog._formats import Format
from gemma.gm.dialog._jinja import ChatTemplateError, render_jinja, template_variables
from gemma.gm.dialog._known_templates import known_format
from gemma.gm.dialog._render import Rendered, Segment

# Noncharacters of Unicode, which no text has: around what looks like a control token and
# is not one.
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
_MARKED = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}|[{_OPEN}{_CLOSE}]")
_END_OF_MESSAGE = "\ufdd2"
_SET_HERE = ("messages", "add_generation_prompt", "tools", "documents")


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """How a checkpoint wants conversations to be written, in Jinja.

    Attributes:
        source: The template.
        special_tokens: Variables such as `bos_token`.
    """

    source: str
    special_tokens: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.source, str):
            raise TypeError(
                f"A chat template is a str, not {type(self.source).__name__}."
            )

    def format(self, family: Format) -> Format | None:
        """Returns the format that it writes if it is a published template, else None.

        Args:
            family: The format of the model's family.
        """
        return known_format(self.source, family)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        **variables: Any,
    ) -> str:
        """Returns the text of a conversation.

        Args:
            messages: Dicts with `role` and `content`, and whatever the template reads.
            add_generation_prompt: Whether to open an answer.
            continue_final_message: Whether to leave the last message open instead.
            **variables: Other variables of the template: `tools`, `documents`, ...

        Raises:
            ImportError: Jinja is not installed.
            ChatTemplateError: The template is damaged, does not read one of the
                variables, or refuses the messages.
        """
        if not messages:
            raise ChatTemplateError("The conversation is empty: there is no message.")
        self._check_variables(variables)
        said = [{k: v for k, v in m.items() if v is not None} for m in messages]
        if continue_final_message:
            said[-1] = _with_end(said[-1])
        defaults = {"tools": None, "documents": None, **self.special_tokens}
        text = render_jinja(
            self.source,
            {
                **defaults,
                **variables,
                "messages": said,
                "add_generation_prompt": add_generation_prompt,
            },
        )
        return _until_end(text) if continue_final_message else text

    def render_conversation(
        self,
        conversation: Conversation,
        *,
        control_tokens: Callable[[str], Iterable[tuple[int, int]]],
        **options: Any,
    ) -> Rendered:
        """Returns a prompt in which what people typed is kept apart from control tokens.

        Args:
            conversation: The turns.
            control_tokens: Returns where in a text there are names of control tokens.
            **options: See `render`.
        """
        messages = [_message(turn) for turn in conversation.turns]
        marked = _mark(messages, control_tokens)
        return Rendered(tuple(_segments(self.render(marked, **options))))

    def _check_variables(self, variables: Mapping[str, Any]) -> None:
        """Refuses what the template would ignore."""
        given = [name for name, value in variables.items() if value is not None]
        if not given:
            return
        read = template_variables(self.source)
        for name in given:
            if name not in read:
                known = sorted(read - {*_SET_HERE, *self.special_tokens})
                raise ChatTemplateError(
                    f"The chat template does not read {name!r}. It reads: "
                    f"{', '.join(['messages', *known])}."
                )


def _message(turn: Turn) -> dict[str, Any]:
    """Returns the message that a template reads for a turn."""
    role = "assistant" if turn.role is Role.MODEL else str(turn.role)
    if not turn.parts:
        return {"role": role, **turn.extra}
    if all(isinstance(part, Text) and not part.extra for part in turn.parts):
        return {"role": role, "content": turn.text, **turn.extra}
    items = [
        {"type": "text", "text": part.text, **part.extra}
        if isinstance(part, Text)
        else {"type": "image"}
        for part in turn.parts
    ]
    return {"role": role, "content": items, **turn.extra}


def _with_end(message: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a message whose text ends in a sign."""
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": f"{content}{_END_OF_MESSAGE} "}
    items = [dict(item) for item in content or ()]
    for item in reversed(items):
        if "text" in item:
            item["text"] = f"{item['text']}{_END_OF_MESSAGE} "
            return {**message, "content": items}
    raise ChatTemplateError("The last message has no text that could be continued.")


def _until_end(text: str) -> str:
    """Returns a prompt up to the end of the last message's text."""
    place = text.rfind(_END_OF_MESSAGE)
    if place < 0:
        raise ChatTemplateError(
            "The chat template does not write the last message as it is, so it cannot be "
            "continued."
        )
    # A template that trims messages took the blank behind the sign: it would have taken
    # those before it too.
    is_trimmed = text[place + 1 : place + 2] != " "
    return text[:place].rstrip() if is_trimmed else text[:place]


def _mark(
    value: Any, control_tokens: Callable[[str], Iterable[tuple[int, int]]]
) -> Any:
    """Returns messages in which names of control tokens are marked as text."""
    if isinstance(value, str):
        for sign in (_OPEN, _CLOSE, _END_OF_MESSAGE):
            if sign in value:
                raise ValueError(
                    f"The text holds U+{ord(sign):X}, which is no character. Remove it."
                )
        done, place = [], 0
        for start, end in control_tokens(value):
            done += [value[place:start], _OPEN, value[start:end], _CLOSE]
            place = end
        return "".join([*done, value[place:]])
    if isinstance(value, Mapping):
        return {key: _mark(entry, control_tokens) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_mark(entry, control_tokens) for entry in value]
    return value


def _segments(text: str) -> Iterator[Segment]:
    place = 0
    for found in _MARKED.finditer(text):
        if before := text[place : found.start()]:
            yield Segment(before, is_control=True, role=None)
        if found[1]:
            yield Segment(found[1], is_control=False, role=None)
        place = found.end()
    if text[place:]:
        yield Segment(text[place:], is_control=True, role=None)
