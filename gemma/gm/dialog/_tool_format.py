"""How each family writes tools, calls and results: one table of data.

Gemma 3 was not trained on one syntax, so its formats say in the prompt what to write, and
take blocks of Markdown, which it writes well. FunctionGemma and Gemma 4 were trained on a
notation of their own with control tokens around it.

References: the chat templates published with FunctionGemma and Gemma 4; Google's "Function
calling with Gemma" and "FunctionGemma formatting and best practices".
"""

from dataclasses import dataclass, replace
from typing import Literal

from gemma.gm.dialog._conversation import Role


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolFormat:
    """The tags and rules of one way to write tools down.

    Attributes:
        name: The format, as people call it.
        style: How values are written: as JSON, as Python, or in the notation that
            FunctionGemma and Gemma 4 were trained on.
        before: What stands before the declarations.
        after: What stands after them.
        declaration_open: The tag before each declaration.
        declaration_close: The tag after it.
        call_open: The tag before a call.
        call_close: The tag after it.
        result_open: The tag before a result. A model that goes on after its calls writes
            this next, and would make up the rest: stop there.
        result_close: The tag after a result.
        quote: The tag on both sides of a string, where strings have one.
        other_fences: Labels of code blocks in which models write calls too, although
            they were told otherwise. Such a block is a call only if it looks like one.
        result_role: Whose turn holds the results: the next one of the user, or the one
            of the model, which then goes on.
    """

    name: str
    style: Literal["json", "python", "gemma"]
    before: str = ""
    after: str = ""
    declaration_open: str = ""
    declaration_close: str = ""
    call_open: str
    call_close: str
    result_open: str
    result_close: str
    quote: str = ""
    other_fences: tuple[str, ...] = ()
    result_role: Role = Role.USER

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """The tags that are single tokens, for whoever tokenizes what was written.

        None of them is left in what a person, a model or a tool said.
        """
        if self.style != "gemma":
            return ()
        return (
            self.declaration_open,
            self.declaration_close,
            self.call_open,
            self.call_close,
            self.result_open,
            self.result_close,
            self.quote,
        )


GEMMA3_JSON = ToolFormat(
    name="Gemma 3, calls in JSON",
    style="json",
    before=(
        "You can call tools. Each line below declares one in JSON: its name, what it"
        " does, and its parameters as a JSON schema.\n\n"
    ),
    declaration_close="\n",
    after=(
        "\nTo call a tool, write a block like this, with the tool's name and an object of"
        " arguments:\n"
        "```tool_call\n"
        '{"name": "...", "arguments": {...}}\n'
        "```\n"
        "Write one block for each call, and stop after the last: the results come back"
        " to you in tool_output blocks. Never write a tool_output block yourself. When"
        " you need no tool, answer in plain words without a block."
    ),
    call_open="```tool_call\n",
    call_close="\n```",
    result_open="```tool_output\n",
    result_close="\n```",
    other_fences=("", "json", "tool_code"),
)
GEMMA3_PYTHON = replace(
    GEMMA3_JSON,
    name="Gemma 3, calls in Python",
    style="python",
    before="You can call tools. They are declared below as Python functions.\n\n",
    declaration_close="\n\n",
    after=(
        "To call a tool, write a block like this, with keyword arguments whose values"
        " are literals:\n"
        "```tool_code\n"
        "tool_name(parameter=...)\n"
        "```\n"
        "Write each call on its own line, without variables or other code, and stop after"
        " the block: the results come back to you in tool_output blocks. Never write a"
        " tool_output block yourself. When you need no tool, answer in plain words"
        " without a block."
    ),
    call_open="```tool_code\n",
    other_fences=("", "python", "py", "tool_call"),
)
FUNCTION_GEMMA = ToolFormat(
    name="FunctionGemma",
    style="gemma",
    # The sentence it was trained with, which turns calling on.
    before="You are a model that can do function calling with the following functions",
    declaration_open="<start_function_declaration>",
    declaration_close="<end_function_declaration>",
    call_open="<start_function_call>",
    call_close="<end_function_call>",
    result_open="<start_function_response>",
    result_close="<end_function_response>",
    quote="<escape>",
    result_role=Role.MODEL,
)
GEMMA4 = ToolFormat(
    name="Gemma 4",
    style="gemma",
    declaration_open="<|tool>",
    declaration_close="<tool|>",
    call_open="<|tool_call>",
    call_close="<tool_call|>",
    result_open="<|tool_response>",
    result_close="<tool_response|>",
    quote='<|"|>',
    result_role=Role.MODEL,
)
