"""One call of a tool: found, checked, run, and its result as text."""

import dataclasses
import enum
import json
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from gemma.gm._numbers import check_count, check_number
from gemma.gm.dialog import ToolCall, ToolResult
from gemma.gm.tools._arguments import check
from gemma.gm.tools._tool import Tool


def call_tool(
    tools: Tool | Iterable[Tool],
    call: ToolCall,
    *,
    timeout_s: float = 60,
    max_chars: int = 20_000,
) -> ToolResult:
    """Runs the tool that a model asked for.

    What goes wrong on the model's side or in the tool is a result as well, with
    `is_error`, which the model can read and act on.

    A tool that takes too long is left behind: Python cannot stop a thread, so it goes on
    until it ends or the program does, and what it does meanwhile happens.

    Args:
        tools: The tool, or those to choose from.
        call: What the model asked for.
        timeout_s: How long to wait.
        max_chars: How many characters of its text the model gets.

    Raises:
        ValueError: Two tools have one name, or a number is out of range.
        TypeError: `timeout_s` is no number, or `max_chars` no integer.

    Example:
        >>> def double(number: float) -> float:
        ...     return 2 * number
        >>> call_tool(Tool.from_function(double), ToolCall("double", {"number": 1.5}))
        ToolResult(name='double', text='3.0', is_error=False)
    """
    timeout_s = check_number("timeout_s", timeout_s, above=0, may_be_infinite=True)
    max_chars = check_count("max_chars", max_chars, at_least=0)
    by_name = _by_name([tools] if isinstance(tools, Tool) else tools)
    if call.name not in by_name:
        known = ", ".join(by_name) or "none"
        return _error(call.name, f"There is no tool {call.name!r}. Tools: {known}.")
    tool = by_name[call.name]
    try:
        checked = check(dict(call.arguments), tool.parameters)
    except RecursionError:
        return _error(call.name, "The arguments are nested too deeply.")
    if checked.problems:
        problems = "; ".join(checked.problems)
        return _error(call.name, f"Wrong arguments: {problems}.")
    result = _run_in_thread(tool, checked.value, timeout_s)
    return dataclasses.replace(result, text=_cut(result.text, max_chars))


def _by_name(tools: Iterable[Tool]) -> dict[str, Tool]:
    by_name: dict[str, Tool] = {}
    for tool in tools:
        if tool.name in by_name:
            raise ValueError(
                f"Two tools are called {tool.name!r}, so a call could mean either."
                " Rename one."
            )
        by_name[tool.name] = tool
    return by_name


def _run_in_thread(
    tool: Tool, arguments: Mapping[str, Any], timeout_s: float
) -> ToolResult:
    results: list[ToolResult] = []
    # A daemon, so that a tool that never returns does not keep the program from ending.
    thread = threading.Thread(
        target=lambda: results.append(_run(tool, arguments)),
        name=f"tool {tool.name}",
        daemon=True,
    )
    thread.start()
    thread.join(min(timeout_s, threading.TIMEOUT_MAX))
    if results:
        return results[0]
    return _error(
        tool.name,
        f"{tool.name} was not done after {timeout_s:g} seconds, and its result is not"
        " waited for any longer.",
    )


def _run(tool: Tool, arguments: Mapping[str, Any]) -> ToolResult:
    try:
        return ToolResult(tool.name, _as_text(tool.run(**arguments)))
    # sys.exit() in a tool too: nobody else would hear of it in this thread.
    except BaseException as error:
        said = [type(error).__name__, str(error)]
        return _error(tool.name, ": ".join(filter(None, said)))


def _error(name: str, text: str) -> ToolResult:
    return ToolResult(name, text, is_error=True)


def _as_text(value: object) -> str:
    """Returns a str as it is, and JSON for what JSON can hold."""
    if isinstance(value, str):
        return str(value)
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_as_json)
    # Infinity, odd keys, and what holds itself.
    except (TypeError, ValueError, RecursionError):
        return str(value)


def _as_json(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: getattr(value, field.name) for field in fields}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def _cut(text: str, max_chars: int) -> str:
    if len(text) <= max_chars:
        return text
    return f"{text[:max_chars]}\n[Cut: the first {max_chars:,} of {len(text):,} characters.]"
