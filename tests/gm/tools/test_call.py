import enum
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType

import pytest

from gemma.gm.dialog import ToolCall, ToolResult
from gemma.gm.tools import Tool, call_tool


def returning(value):
    return Tool(name="f", description="", parameters={}, run=lambda: value)


def running(function):
    return Tool(name="f", description="", parameters={}, run=function)


CALL = ToolCall("f", {})


class Unit(enum.Enum):
    CELSIUS = "C"


@dataclass
class Place:
    unit: Unit
    at: tuple


holds_itself: list = []
holds_itself.append(holds_itself)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Größe\n7", "Größe\n7"),
        ("", ""),
        (7, "7"),
        (None, "null"),
        (True, "true"),
        ({"a": [1, 2.5, "é"]}, '{"a": [1, 2.5, "é"]}'),
        (Unit.CELSIUS, '"C"'),
        (Place(Unit.CELSIUS, (1, 2)), '{"unit": "C", "at": [1, 2]}'),
        (MappingProxyType({"a": 1}), '{"a": 1}'),
        ({"a": PurePosixPath("b/c")}, '{"a": "b/c"}'),
        (Place, f'"{Place}"'),
        (float("inf"), "inf"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (holds_itself, "[[...]]"),
    ],
    ids=repr,
)
def test_value_becomes_text(value, text):
    assert call_tool(returning(value), CALL) == ToolResult("f", text)


def test_tool_is_found_by_its_name():
    tools = [
        Tool(name=n, description="", parameters={}, run=lambda n=n: n) for n in "fg"
    ]
    assert call_tool(tools, ToolCall("g", {})).text == "g"


@pytest.mark.parametrize(("tools", "known"), [([], "none"), ([returning(1)], "f")])
def test_unknown_tool_is_an_error_that_lists_the_others(tools, known):
    result = call_tool(tools, ToolCall("h", {}))
    assert result == ToolResult("h", f"There is no tool 'h'. Tools: {known}.", True)


def test_two_tools_of_one_name_are_refused():
    with pytest.raises(ValueError, match="Two tools are called 'f'"):
        call_tool([returning(1), returning(2)], CALL)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("a"), "KeyError: 'a'"),
        (ValueError("two\nlines"), "ValueError: two\nlines"),
        (RuntimeError(), "RuntimeError"),
        (SystemExit(1), "SystemExit: 1"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
    ids=repr,
)
def test_exception_is_an_error_without_traceback(error, text):
    def fail():
        raise error

    assert call_tool(running(fail), CALL) == ToolResult("f", text, is_error=True)


def test_value_that_has_no_text_is_an_error():
    class Mute:
        def __str__(self):
            raise ValueError("no words")

    result = call_tool(returning(Mute()), CALL)
    assert result == ToolResult("f", "ValueError: no words", is_error=True)


def test_tool_that_does_not_return_is_left_behind():
    go_on, ended = threading.Event(), threading.Event()

    def wait():
        go_on.wait()
        ended.set()

    result = call_tool(running(wait), CALL, timeout_s=0.01)
    assert result.is_error
    assert "f was not done after 0.01 seconds" in result.text
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(60)


def test_program_ends_while_a_tool_runs():
    code = """
import threading
from gemma.gm.dialog import ToolCall
from gemma.gm.tools import Tool, call_tool
tool = Tool(name="f", description="", parameters={}, run=threading.Event().wait)
print(call_tool(tool, ToolCall("f", {}), timeout_s=0.01).is_error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signal")
def test_interrupt_of_the_caller_is_not_swallowed():
    stop = threading.Event()

    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        stop.wait()

    with pytest.raises(KeyboardInterrupt):
        call_tool(running(interrupt), CALL)
    stop.set()


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
def test_time_to_wait_is_positive(timeout_s):
    with pytest.raises(ValueError, match=f"timeout_s is {timeout_s}"):
        call_tool(returning(1), CALL, timeout_s=timeout_s)


def test_one_may_wait_for_ever():
    assert call_tool(returning(1), CALL, timeout_s=float("inf")).text == "1"


def test_long_text_is_cut_and_says_so():
    result = call_tool(returning("x" * 5_000), CALL, max_chars=1_000)
    assert result.text == "x" * 1_000 + "\n[Cut: the first 1,000 of 5,000 characters.]"
    assert call_tool(returning("x" * 1_000), CALL, max_chars=1_000).text == "x" * 1_000
