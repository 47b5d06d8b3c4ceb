"""Messages of OpenAI's API about tools -> turns of a family that has no role for them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from gemma.gm.dialog._conversation import Part, Role, Text, Turn
from gemma.gm.dialog._tool_calls import ToolCall, ToolResult, write_call, write_results
from gemma.gm.dialog._tool_format import ToolFormat


def write_tool_turns(turns: Iterable[Turn], format: ToolFormat) -> tuple[Turn, ...]:
    """Returns the turns with calls and results as text.

    Args:
        turns: Turns whose `extra` may have `tool_calls`, and turns of the role `tool`,
            whose `extra` has the `name` of the tool or the `tool_call_id` of the call.
        format: How calls and results are written.

    Raises:
        ValueError: A call or a result is not as in OpenAI's API, or the results of this
            format do not belong in a turn of the user.
    """
    if format.result_role is not Role.USER:
        raise ValueError(
            f"Results of {format.name} go into the model's own turn: only the "
            "checkpoint's chat template can write them."
        )
    names: dict[str, str] = {}
    written: list[Turn] = []
    for is_tool, group in groupby(turns, lambda turn: turn.role is Role.TOOL):
        if is_tool:
            results = [_read_result(turn, names) for turn in group]
            written.append(Turn.user(write_results(results, format)))
        else:
            written += [_with_calls(turn, names, format) for turn in group]
    return tuple(written)


def _with_calls(turn: Turn, names: dict[str, str], format: ToolFormat) -> Turn:
    """Returns a turn that says its calls; notes their names by their ids."""
    extra = {**turn.extra}
    calls = extra.pop("tool_calls", None)
    if not calls:
        return turn
    if turn.role is not Role.MODEL:
        raise ValueError(f"Only the assistant calls tools, not the {turn.role}.")
    said: list[Part] = [*turn.parts] if turn.text.strip() else []
    for call_id, call in _read_calls(calls):
        names[call_id] = call.name
        said.append(Text("\n" * bool(said) + write_call(call, format), True))
    return Turn(turn.role, tuple(said), extra)


def _read_calls(calls: Any) -> Iterator[tuple[str, ToolCall]]:
    if not isinstance(calls, list | tuple):
        raise ValueError(f"tool_calls is a list, not {type(calls).__name__}.")
    for call in calls:
        match call:
            case {"function": {"name": str(name), "arguments": arguments}}:
                if isinstance(arguments, str):
                    arguments = _from_json(arguments)
                if isinstance(arguments, Mapping):
                    yield str(call.get("id", "")), ToolCall(name, arguments)
                    continue
        raise ValueError(
            f"Cannot read the call {call!r}. A call is "
            '{"function": {"name": ..., "arguments": {...}}}.'
        )


def _from_json(arguments: str) -> Any:
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return None


def _read_result(turn: Turn, names: Mapping[str, str]) -> ToolResult:
    name = turn.extra.get("name") or names.get(turn.extra.get("tool_call_id", ""))
    if not name:
        raise ValueError(
            "A tool message says whose result it is: its name, or the tool_call_id of a "
            "call before it."
        )
    return ToolResult(name, turn.text)
