"""What is said: conversations, how each family writes them down, and back."""

from gemma.gm.dialog._conversation import (
    Conversation,
    Image,
    Part,
    Role,
    Text,
    Turn,
)
from gemma.gm.dialog._formats import GEMMA1, GEMMA2, GEMMA3, Format, format_for
from gemma.gm.dialog._parse import parse_answer
from gemma.gm.dialog._render import Rendered, Segment, render

__all__ = [
    "GEMMA1",
    "GEMMA2",
    "GEMMA3",
    "Conversation",
    "Format",
    "Image",
    "Part",
    "Rendered",
    "Role",
    "Segment",
    "Text",
    "Turn",
    "format_for",
    "parse_answer",
    "render",
]
