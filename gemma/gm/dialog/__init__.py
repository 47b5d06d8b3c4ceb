"""What is said: conversations, how each family writes them down, and back."""

from typing import TYPE_CHECKING

from gemma.gm._lazy import lazily
from gemma.gm.dialog._chat_template import ChatTemplate
from gemma.gm.dialog._conversation import (
    Conversation,
    Image,
    Part,
    Role,
    Text,
    Turn,
)
from gemma.gm.dialog._formats import GEMMA1, GEMMA2, GEMMA3, Format, format_for
from gemma.gm.dialog._jinja import ChatTemplateError
from gemma.gm.dialog._parse import parse_answer
from gemma.gm.dialog._placeholders import fill_placeholders
from gemma.gm.dialog._render import Rendered, Segment, render

if TYPE_CHECKING:
    from gemma.gm.dialog._conversation_file import load_conversation, save_conversation
    from gemma.gm.dialog._tool_calls import (
        ToolCall,
        ToolCallError,
        ToolResult,
        parse_calls,
        write_call,
        write_results,
    )
    from gemma.gm.dialog._tool_declarations import Declared, declare_tools
    from gemma.gm.dialog._tool_format import (
        FUNCTION_GEMMA,
        GEMMA3_JSON,
        GEMMA3_PYTHON,
        GEMMA4,
        ToolFormat,
    )

__getattr__ = lazily(
    __name__,
    {
        "Declared": "_tool_declarations",
        "FUNCTION_GEMMA": "_tool_format",
        "GEMMA3_JSON": "_tool_format",
        "GEMMA3_PYTHON": "_tool_format",
        "GEMMA4": "_tool_format",
        "ToolCall": "_tool_calls",
        "ToolCallError": "_tool_calls",
        "ToolFormat": "_tool_format",
        "ToolResult": "_tool_calls",
        "declare_tools": "_tool_declarations",
        "load_conversation": "_conversation_file",
        "parse_calls": "_tool_calls",
        "save_conversation": "_conversation_file",
        "write_call": "_tool_calls",
        "write_results": "_tool_calls",
    },
)

__all__ = [
    "FUNCTION_GEMMA",
    "GEMMA1",
    "GEMMA2",
    "GEMMA3",
    "GEMMA3_JSON",
    "GEMMA3_PYTHON",
    "GEMMA4",
    "ChatTemplate",
    "ChatTemplateError",
    "Conversation",
    "Declared",
    "Format",
    "Image",
    "Part",
    "Rendered",
    "Role",
    "Segment",
    "Text",
    "ToolCall",
    "ToolCallError",
    "ToolFormat",
    "ToolResult",
    "Turn",
    "declare_tools",
    "fill_placeholders",
    "format_for",
    "load_conversation",
    "parse_answer",
    "parse_calls",
    "render",
    "save_conversation",
    "write_call",
    "write_results",
]
