"""The nouns of a dialog: a conversation is turns, a turn is parts with a role.

They know nothing of control tokens or of the model that will read them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self, TypeAlias


class Role(StrEnum):
    """Says who speaks. `Role("assistant")` is `Role.MODEL`."""

    SYSTEM = "system"
    USER = "user"
    MODEL = "model"

    @classmethod
    def _missing_(cls, value: object) -> "Role":
        if value == "assistant":
            return cls.MODEL
        raise ValueError(
            f"Unknown role {value!r}. Use 'system', 'user' or 'model' ('assistant' means 'model')."
        )


@dataclass(frozen=True, slots=True)
class Text:
    """Something written."""

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise TypeError(f"Text holds a str, not {_type_name(self.text)}.")


@dataclass(frozen=True, slots=True)
class Image:
    """A picture. The prompt holds a placeholder for it.

    Attributes:
        source: Where its pixels are: a path, a URL, an array. Not looked at here.
    """

    source: object = None


Part: TypeAlias = Text | Image


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker says before the other answers.

    Example:
        >>> Turn.user("Who are you?").text
        'Who are you?'
    """

    role: Role
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.role, Role):
            raise TypeError(f"Turn.role is a Role, not {_type_name(self.role)}.")
        if not isinstance(self.parts, tuple):
            raise TypeError(
                f"Turn.parts is a tuple of Text and Image, not {_type_name(self.parts)}."
                " Turn.user('...') makes one from strings."
            )
        for part in self.parts:
            if not isinstance(part, Text | Image):
                raise TypeError(f"A part is Text or Image, not {_type_name(part)}.")
        # A model may answer with nothing; a person who says nothing made a mistake.
        if self.role is not Role.MODEL and all(part == Text("") for part in self.parts):
            raise ValueError(
                f"The {self.role} turn is empty. Give it text or an image."
            )

    @classmethod
    def system(cls, *content: str | Part) -> Self:
        """Returns a turn of instructions that hold for the whole conversation."""
        return cls(Role.SYSTEM, _as_parts(content))

    @classmethod
    def user(cls, *content: str | Part) -> Self:
        """Returns a turn of the user, from strings and parts in their order."""
        return cls(Role.USER, _as_parts(content))

    @classmethod
    def model(cls, *content: str | Part) -> Self:
        """Returns a turn of the model."""
        return cls(Role.MODEL, _as_parts(content))

    @property
    def text(self) -> str:
        """The text of all parts, joined with nothing between."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in the order in which they were spoken.

    Example:
        >>> conversation = Conversation() + Turn.user("Hi") + Turn.model("Hello!")
        >>> len(conversation.turns)
        2
    """

    turns: tuple[Turn, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.turns, tuple):
            raise TypeError(
                f"Conversation.turns is a tuple of Turn, not {_type_name(self.turns)}."
                " Conversation.from_messages([...]) reads a list of dicts."
            )
        for turn in self.turns:
            if not isinstance(turn, Turn):
                raise TypeError(f"A conversation holds Turns, not {_type_name(turn)}.")

    def __add__(self, turn: Turn) -> "Conversation":
        if not isinstance(turn, Turn):
            return NotImplemented
        return Conversation((*self.turns, turn))

    @classmethod
    def from_messages(cls, messages: Iterable[Mapping[str, Any]]) -> Self:
        """Reads the list of dicts that OpenAI's API and transformers use.

        Args:
            messages: Dicts with `role` (`system`, `user`, `assistant` or `model`) and
                `content`: a str, or a list of `{"type": "text", "text": ...}` and
                `{"type": "image", "image": ...}`.

        Raises:
            TypeError: A message, content or item has the wrong type.
            ValueError: A role, key or item type is unknown, missing or not supported.

        Example:
            >>> Conversation.from_messages([{"role": "user", "content": "Hi"}])
            Conversation(turns=(Turn(role=<Role.USER: 'user'>, parts=(Text(text='Hi'),)),))
        """
        if isinstance(messages, str | Mapping):
            raise TypeError(
                f"Messages are a list of dicts, not {_type_name(messages)}."
                " For one question use Conversation((Turn.user('...'),))."
            )
        return cls(tuple(_read_message(i, m) for i, m in enumerate(messages)))


def _as_parts(content: tuple[str | Part, ...]) -> tuple[Part, ...]:
    return tuple(Text(item) if isinstance(item, str) else item for item in content)


def _read_message(index: int, message: Mapping[str, Any]) -> Turn:
    where = f"messages[{index}]"
    if not isinstance(message, Mapping):
        raise TypeError(f"{where} is {_type_name(message)}; a message is a dict.")
    for key in ("role", "content"):
        if key not in message:
            raise ValueError(f"{where} has no {key!r}. A message has role and content.")
    # Other programs write keys they do not use as None or []: nothing is lost with those.
    for key in message.keys() - {"role", "content"}:
        if message[key]:
            raise ValueError(f"{where} has {key!r}, which is not supported: remove it.")
    try:
        return Turn(Role(message["role"]), _read_content(message["content"]))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: {error}") from None


def _read_content(content: object) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(content),)
    if isinstance(content, list | tuple):
        return tuple(_read_item(item) for item in content)
    raise TypeError(f"Content is a str or a list of items, not {_type_name(content)}.")


def _read_item(item: object) -> Part:
    if not isinstance(item, Mapping):
        raise TypeError(f"An item of content is a dict, not {_type_name(item)}.")
    match item:
        case {"type": "text", "text": text}:
            return Text(text)
        case {"type": "image_url", "image_url": {"url": url}}:
            return Image(url)
        case {"type": "image"}:
            keys = ("image", "url", "path", "base64")
            return Image(next((item[key] for key in keys if key in item), None))
    raise ValueError(
        f"Cannot read the item {dict(item)!r}. Items are"
        " {'type': 'text', 'text': ...} or {'type': 'image', 'image': ...}."
    )


def _type_name(value: object) -> str:
    return type(value).__name__
