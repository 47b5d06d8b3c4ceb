"""Calls of tools and their results: written, and found in what a model wrote."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gemma.gm.dialog._conversation import type_name
from gemma.gm.dialog._fences import fence_around
from gemma.gm.dialog._tool_blocks import (
    blocks_in_json,
    blocks_in_notation,
    blocks_in_python,
)
from gemma.gm.dialog._tool_format import ToolFormat
from gemma.gm.dialog._tool_names import check_name, is_python_name
from gemma.gm.dialog._tool_notation import (
    plain_value,
    without_control_tokens,
    write_entries,
)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to run a tool.

    Attributes:
        name: The tool.
        arguments: Its arguments, in types that JSON has.
    """

    name: str
    arguments: Mapping[str, object]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"ToolCall.name is a str, not {type_name(self.name)}.")
        if not isinstance(self.arguments, Mapping):
            raise TypeError(
                f"ToolCall.arguments is a dict, not {type_name(self.arguments)}."
            )


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of a call.

    Attributes:
        name: The tool.
        text: What it returned, or what went wrong, for the model to read.
        is_error: Whether something went wrong.
    """

    name: str
    text: str
    is_error: bool = False


class ToolCallError(ValueError):
    """A model wrote a call that cannot be read. The message is for the model too."""


def parse_calls(text: str, format: ToolFormat) -> list[ToolCall]:
    r"""Returns the calls in what a model wrote, in their order; [] if there are none.

    Args:
        text: What the model wrote, with its control tokens.
        format: How it was asked to write calls. Common slips are forgiven, such as the
            wrong label on a block.

    Raises:
        ToolCallError: Something is meant as a call, but cannot be read.

    Example:
        >>> from gemma.gm.dialog import GEMMA3_PYTHON
        >>> parse_calls("```tool_code\nweather(city='Oslo')\n```", GEMMA3_PYTHON)
        [ToolCall(name='weather', arguments={'city': 'Oslo'})]
    """
    read = {
        "json": blocks_in_json,
        "python": blocks_in_python,
        "gemma": blocks_in_notation,
    }
    try:
        return [ToolCall(*call) for call in read[format.style](text, format)]
    except ValueError as error:
        example = write_call(ToolCall("tool_name", {"parameter": "value"}), format)
        raise ToolCallError(
            f"This call cannot be read: {error}. Write calls like this:\n{example}"
        ) from None


def write_call(call: ToolCall, format: ToolFormat) -> str:
    """Returns a call as the model would write it: `parse_calls` reads it back.

    Raises:
        ValueError: The format cannot write the name or an argument.
    """
    check_name(call.name, format)
    arguments = plain_value(call.arguments)
    assert isinstance(arguments, dict)
    write = {"json": _in_json, "python": _in_python, "gemma": _in_notation}
    written = write[format.style](call.name, arguments, format)
    return f"{format.call_open}{written}{format.call_close}"


def write_results(results: Sequence[ToolResult], format: ToolFormat) -> str:
    """Returns what the model reads of its calls, one block a result.

    It belongs in a turn of `format.result_role`. Nothing that a tool returns can end its
    block: of a tag in it a space makes plain text.

    Example:
        >>> from gemma.gm.dialog import FUNCTION_GEMMA
        >>> write_results([ToolResult("weather", '{"degrees": 7}')], FUNCTION_GEMMA)
        '<start_function_response>response:weather{degrees:7}<end_function_response>'
    """
    if format.style == "gemma":
        return "".join(_result_in_notation(result, format) for result in results)
    return "\n".join(_result_in_fence(result, format) for result in results)


def _in_json(name: str, arguments: dict[str, object], format: ToolFormat) -> str:
    return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)


def _in_python(name: str, arguments: dict[str, object], format: ToolFormat) -> str:
    named = [f"{k}={v!r}" for k, v in arguments.items() if is_python_name(k)]
    others = {k: v for k, v in arguments.items() if not is_python_name(k)}
    return f"{name}({', '.join([*named, *([f'**{others!r}'] if others else [])])})"


def _in_notation(name: str, arguments: dict[str, object], format: ToolFormat) -> str:
    return f"call:{name}{{{write_entries(arguments, format.quote)}}}"


def _result_in_fence(result: ToolResult, format: ToolFormat) -> str:
    ticks = fence_around(result.text)
    verb = "failed" if result.is_error else "returned"
    opened = format.result_open.replace("```", ticks)
    closed = format.result_close.replace("```", ticks)
    return f"{opened}{result.name} {verb}:\n{result.text}{closed}"


def _result_in_notation(result: ToolResult, format: ToolFormat) -> str:
    check_name(result.name, format)
    value = {"error": result.text} if result.is_error else _entries_of(result.text)
    entries = write_entries(
        without_control_tokens(value, format.control_tokens), format.quote
    )
    return (
        f"{format.result_open}response:{result.name}{{{entries}}}{format.result_close}"
    )


def _entries_of(text: str) -> dict[str, object]:
    """Returns a result as an object, as the published templates write it."""
    try:
        value = plain_value(json.loads(text))
    except (ValueError, RecursionError):
        value = text
    return value if isinstance(value, dict) else {"value": value}
