"""Conversation -> prompt, in segments that keep the template and the typed apart.

A prompt is not one flat string: a person may type `<end_of_turn>`, and those letters
must not become the control token. So whoever tokenizes encodes each segment by itself,
and recognises control tokens in control segments only.

Segments end where a tokenizer cannot merge across: at a control token, or between a
newline and text that starts with none. Encoding them one by one therefore gives the ids
of the whole text, when nobody typed a control token.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

from gemma.gm.dialog._conversation import Conversation, Part, Role, Text, Turn
from gemma.gm.dialog._formats import Format


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a prompt.

    Attributes:
        text: Its letters.
        is_control: Whether the format wrote it; if not, a person or a model did, and
            what looks like a control token in it is text.
        role: Whose words these are, with the tag that ends them; None for the frame
            around. A trainer learns from the segments of Role.MODEL.
    """

    text: str
    is_control: bool
    role: Role | None


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt, in order."""

    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """The whole prompt, letter by letter what the published template writes."""
        return "".join(segment.text for segment in self.segments)


def render(
    conversation: Conversation,
    format: Format,
    *,
    add_generation_prompt: bool = True,
    continue_final_message: bool = False,
) -> Rendered:
    r"""Writes a conversation as the family was trained to read it.

    Args:
        conversation: Turns that alternate user, model, user, ...; a system turn may
            come first where the format has one.
        format: How the family writes, from `format_for`.
        add_generation_prompt: Whether to open a turn of the model at the end.
        continue_final_message: Whether to leave the last turn open, so that the model
            continues it, instead.

    Raises:
        ValueError: The turns do not alternate, or the family has no such turn, part or
            key of a message.

    Example:
        >>> from gemma.gm.dialog import GEMMA3
        >>> render(Conversation() + Turn.user(" Hi "), GEMMA3).text
        '<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n'
    """
    _check(conversation, format)
    segments = [_frame(format.bos)]
    system, turns = _split_system(conversation, format)
    for turn in turns:
        segments += _turn_segments(turn, system, format)
        system = ""
    if continue_final_message:
        del segments[-2:]  # the tag that ends the turn, and the line end
    elif add_generation_prompt:
        segments.append(_frame(f"{format.start_of_turn}{format.model_name}\n"))
    return Rendered(tuple(_merged(segments)))


def _check(conversation: Conversation, format: Format) -> None:
    """Raises where the published template does, and where nobody asks anything."""
    turns = conversation.turns
    for number, turn in enumerate(turns, 1):
        _check_turn(turn, number, format)
    roles = [turn.role for turn in turns]
    if roles[:1] == [Role.SYSTEM]:
        if not format.has_system:
            raise ValueError(
                f"System role not supported: {format.name} has none."
                " Put the instructions at the start of the first user turn."
            )
        roles = roles[1:]
    if not roles:
        raise ValueError(
            "The conversation has no user turn: there is nothing to render."
        )
    first = len(turns) - len(roles) + 1
    for number, (before, role) in enumerate(pairwise([Role.MODEL, *roles]), first):
        if {before, role} != {Role.USER, Role.MODEL}:
            raise ValueError(
                f"Turn {number} ({role}) is out of place: turns must alternate user,"
                " model, user, ..., starting with user; a system turn can only be first."
            )


def _check_turn(turn: Turn, number: int, format: Format) -> None:
    """Refuses what the format has no place for."""
    ways = {
        Role.DEVELOPER: "Put the instructions into a system turn.",
        Role.TOOL: "Conversation.from_messages(messages, tool_format=...) writes results "
        "of tools into a turn of the user.",
    }
    if turn.role in ways:
        raise ValueError(
            f"Turn {number}: {format.name} has no turns of the {turn.role}. "
            f"{ways[turn.role]}"
        )
    extra = {**turn.extra}
    for part in turn.parts:
        extra |= part.extra if isinstance(part, Text) else {}
    if extra:
        key = next(iter(extra))
        way = (
            "Conversation.from_messages(messages, tool_format=...) writes calls into the "
            "model's text."
            if key == "tool_calls"
            else "Remove it."
        )
        raise ValueError(
            f"Turn {number} has {key!r}, which {format.name} has no place for. {way}"
        )


def _split_system(
    conversation: Conversation, format: Format
) -> tuple[str, tuple[Turn, ...]]:
    """Returns the text put before the first user's, and the turns to write."""
    first, *others = conversation.turns
    if first.role is not Role.SYSTEM:
        return "", conversation.turns
    # The template takes the first item of a list, and alone does not trim this text.
    match first.parts[0]:
        case Text(text):
            return f"{text}{format.after_system}", tuple(others)
    raise ValueError("A system turn must start with text, not with an image.")


def _turn_segments(turn: Turn, system: str, format: Format) -> Iterator[Segment]:
    name = format.model_name if turn.role is Role.MODEL else format.user_name
    # A run of newlines is one token: newlines that open the system text stay with the
    # header's own. All other text is trimmed, and cannot start with one.
    body = system.lstrip("\n")
    newlines = "\n" * (len(system) - len(body))
    yield _frame(f"{format.start_of_turn}{name}\n{newlines}")
    yield Segment(body, is_control=False, role=turn.role)
    for part in turn.parts:
        yield _part_segment(part, turn.role, format)
    yield Segment(format.end_of_turn, is_control=True, role=turn.role)
    yield _frame("\n")


def _part_segment(part: Part, role: Role, format: Format) -> Segment:
    if isinstance(part, Text):
        text = part.text if part.is_verbatim else part.text.strip()
        return Segment(text, is_control=False, role=role)
    if not format.image_placeholder:
        raise ValueError(f"{format.name} does not read images: this one has text only.")
    return Segment(format.image_placeholder, is_control=True, role=role)


def _frame(text: str) -> Segment:
    return Segment(text, is_control=True, role=None)


def _merged(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Joins neighbours of one kind, so that plain text never touches plain text."""
    written = (segment for segment in segments if segment.text)
    for (is_control, role), group in groupby(
        written, key=lambda segment: (segment.is_control, segment.role)
    ):
        yield Segment("".join(segment.text for segment in group), is_control, role)
