"""The nouns of a dialog: a conversation is turns, a turn is parts with a role.

They know nothing of control tokens or of the model that will read them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self, TypeAlias

if TYPE_CHECKING:
    from gemma.gm.dialog._tool_format import ToolFormat


class Role(StrEnum):
    """Says who speaks. `Role("assistant")` is `Role.MODEL`.

    Gemma's own formats have no turns of DEVELOPER and TOOL; templates of checkpoints may.
    """

    SYSTEM = "system"
    USER = "user"
    MODEL = "model"
    DEVELOPER = "developer"
    TOOL = "tool"

    @classmethod
    def _missing_(cls, value: object) -> "Role":
        if value == "assistant":
            return cls.MODEL
        raise ValueError(
            f"Unknown role {value!r}. Use 'system', 'user' or 'model' ('assistant' means"
            " 'model'); 'developer' and 'tool' for chat templates that have them."
        )


@dataclass(frozen=True, slots=True)
class Text:
    """Something written.

    Attributes:
        text: Its letters.
        is_verbatim: Whether blanks at its ends are kept. Templates trim the items of a
            message, but not what stands beside a placeholder inside of one.
        extra: Other keys of the item, for chat templates that read them, such as
            `source_lang_code` of TranslateGemma.
    """

    text: str
    is_verbatim: bool = field(default=False, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise TypeError(f"Text holds a str, not {type_name(self.text)}.")


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

    Attributes:
        role: Who speaks.
        parts: What is said, in its order.
        extra: Other keys of the message, for chat templates that read them, such as
            `tool_calls`.

    Example:
        >>> Turn.user("Who are you?").text
        'Who are you?'
    """

    role: Role
    parts: tuple[Part, ...]
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.role, Role):
            raise TypeError(f"Turn.role is a Role, not {type_name(self.role)}.")
        if not isinstance(self.parts, tuple):
            raise TypeError(
                f"Turn.parts is a tuple of Text and Image, not {type_name(self.parts)}."
                " Turn.user('...') makes one from strings."
            )
        for part in self.parts:
            if not isinstance(part, Text | Image):
                raise TypeError(f"A part is Text or Image, not {type_name(part)}.")
        # A model may answer with nothing, and a tool return nothing; a person who says
        # nothing made a mistake.
        may_be_empty = self.role in (Role.MODEL, Role.TOOL)
        if not may_be_empty and all(part == Text("") for part in self.parts):
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
                f"Conversation.turns is a tuple of Turn, not {type_name(self.turns)}."
                " Conversation.from_messages([...]) reads a list of dicts."
            )
        for turn in self.turns:
            if not isinstance(turn, Turn):
                raise TypeError(f"A conversation holds Turns, not {type_name(turn)}.")

    def __add__(self, turn: Turn) -> "Conversation":
        if not isinstance(turn, Turn):
            return NotImplemented
        return Conversation((*self.turns, turn))

    @classmethod
    def from_messages(
        cls,
        messages: Iterable[Mapping[str, Any]],
        *,
        tool_format: "ToolFormat | None" = None,
    ) -> Self:
        """Reads the list of dicts that OpenAI's API and transformers use.

        Args:
            messages: Dicts with `role` (`system`, `user`, `assistant` or `model`) and
                `content`: a str, or a list of `{"type": "text", "text": ...}` and
                `{"type": "image", "image": ...}`. Other keys are kept for chat templates
                that read them; a family that has no place for one refuses to render it.
            tool_format: How the model was told to write calls of tools. `tool_calls`
                become part of the model's text, and messages of the role `tool` a turn
                of the user, as `gm.text.ToolSampler` writes them. Without it they stay
                as they are.

        Raises:
            TypeError: A message, content or item has the wrong type.
            ValueError: A role or item type is unknown, or a key is missing.

        Example:
            >>> Conversation.from_messages([{"role": "user", "content": "Hi"}])
            Conversation(turns=(Turn(role=<Role.USER: 'user'>, parts=(Text(text='Hi'),)),))
        """
        if isinstance(messages, str | Mapping):
            raise TypeError(
                f"Messages are a list of dicts, not {type_name(messages)}."
                " For one question use Conversation((Turn.user('...'),))."
            )
        # Here, because those files need Turn.
        from gemma.gm.dialog._messages import read_message

        turns = tuple(
            read_message(message, f"messages[{index}]")
            for index, message in enumerate(messages)
        )
        if tool_format is not None:
            from gemma.gm.dialog._tool_messages import write_tool_turns

            turns = write_tool_turns(turns, tool_format)
        return cls(turns)

    def to_messages(
        self, *, encode_image: Callable[[object], str] | None = None
    ) -> list[dict[str, Any]]:
        """Returns what `from_messages` reads, in types that JSON has.

        The model is called `assistant`, so that other programs read it too. Images that
        are bytes of a PNG, JPEG, GIF or WebP file become `data:` URLs.

        Args:
            encode_image: Returns a path or URL for an image in another form, such as an
                array.

        Raises:
            TypeError: An image is in another form, and there is no `encode_image`.

        Example:
            >>> (Conversation() + Turn.model("Hello!")).to_messages()
            [{'role': 'assistant', 'content': 'Hello!'}]
        """
        from gemma.gm.dialog._messages import write_message

        return [
            write_message(turn, f"messages[{index}]", encode_image)
            for index, turn in enumerate(self.turns)
        ]


def type_name(value: object) -> str:
    """Returns what an error calls a value of the wrong type."""
    return type(value).__name__


def _as_parts(content: tuple[str | Part, ...]) -> tuple[Part, ...]:
    return tuple(Text(item) if isinstance(item, str) else item for item in content)
