"""Calls as Gemma writes them by itself are calls in each format of Gemma 3."""

import pytest

from gemma.gm.dialog import (
    GEMMA3_JSON,
    GEMMA3_PYTHON,
    ToolCall,
    ToolCallError,
    parse_calls,
)

CALL = ToolCall("weather", {"city": "Oslo"})


@pytest.mark.parametrize("format", [GEMMA3_JSON, GEMMA3_PYTHON])
@pytest.mark.parametrize(
    "written",
    [
        'weather(city="Oslo")',
        "print(default_api.weather(city='Oslo'))",
        "default_api.weather(city='Oslo')",
        "[weather(city='Oslo')]",
    ],
)
def test_native_calls_are_calls(format, written):
    assert parse_calls(f"Sure:\n```tool_code\n{written}\n```", format) == [CALL]


def test_what_is_no_call_is_said_to_the_model():
    with pytest.raises(ToolCallError, match="not a call"):
        parse_calls("```tool_code\nx = 1\n```", GEMMA3_JSON)
