import importlib.util
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gemma.gm.dialog import GEMMA4, ToolCall, ToolResult, declare_tools
from gemma.gm.tools import McpTools, call_tool

SERVER = Path(__file__).with_name("mcp_server.py")

needs_mcp = pytest.mark.skipif(
    importlib.util.find_spec("mcp") is None, reason="the package mcp is not installed"
)


@pytest.fixture(scope="module")
def tools():
    with McpTools.from_command([sys.executable, str(SERVER)]) as tools:
        yield tools


SECRET = "Bearer of-a-secret"


def guarded(app):
    """An app that answers who knows the secret, and nobody else."""

    async def answer(scope, receive, send):
        headers = dict(scope.get("headers", ()))
        knows = headers.get(b"authorization") == SECRET.encode()
        if scope["type"] == "http" and not knows:
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body"})
        else:
            await app(scope, receive, send)

    return answer


@pytest.fixture(params=[False])
def url(request):
    """The address of the tiny server, spoken to by HTTP within this machine."""
    import uvicorn

    spec = importlib.util.spec_from_file_location("mcp_server", SERVER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # It listens before the server runs, so nobody has to wait for that.
    listening = socket.create_server(("127.0.0.1", 0))
    app = module.server.streamable_http_app()
    app = guarded(app) if request.param else app
    config = uvicorn.Config(app, log_level="error", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    server.should_exit = True
    thread.join()
    listening.close()


@needs_mcp
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "text", "is_error"),
    [
        ("add", {"a": 2, "b": 3}, "5", False),
        ("add", {"a": 2.0}, "3", False),
        ("greet", {"place": {"name": "Oslo"}}, "Hello, Oslo! 👋", False),
        ("fail", {}, "RuntimeError: Error executing tool fail: no luck", True),
        ("add", {"a": "x"}, 'Wrong arguments: a must be an integer, not "x".', True),
        ("greet", {"place": {}}, "Wrong arguments: place.name is missing: a string.", True),
        ("sing", {}, "There is no tool 'sing'. Tools: add, greet, fail, wait.", True),
    ],
)  # fmt: skip
def test_server_runs_what_is_called(tools, name, arguments, text, is_error):
    assert call_tool(tools, ToolCall(name, arguments)) == ToolResult(
        name, text, is_error
    )


@needs_mcp
@pytest.mark.slow
def test_server_says_what_its_tools_take(tools):
    assert "declaration:greet{description:" in declare_tools(list(tools), GEMMA4)
    add, *_ = tools
    assert (add.name, add.description) == ("add", "Adds two numbers.")
    assert add.parameters["required"] == ["a"]


@needs_mcp
@pytest.mark.slow
def test_server_goes_on_after_a_call_that_took_too_long(tools):
    result = call_tool(tools, ToolCall("wait", {}), timeout_s=0.01)
    assert "not done after 0.01 seconds" in result.text
    assert call_tool(tools, ToolCall("add", {"a": 1})).text == "2"


@needs_mcp
@pytest.mark.slow
def test_server_may_take_only_so_long_to_answer():
    command = [sys.executable, str(SERVER)]
    with McpTools.from_command(command, timeout_s=1) as tools:
        result = call_tool(tools, ToolCall("wait", {}))
    assert result.is_error
    assert "timed out" in result.text


@needs_mcp
@pytest.mark.slow
def test_tools_are_there_while_the_server_is_open():
    closed = McpTools.from_command([sys.executable, str(SERVER)])
    with pytest.raises(RuntimeError, match=r"mcp_server.py is not open: use its tools"):
        list(closed)
    with closed as tools:
        add, *_ = tools
        with pytest.raises(RuntimeError, match=r"mcp_server.py is open already"):
            tools.__enter__()
    assert call_tool(add, ToolCall("add", {"a": 1})).is_error
    with closed as tools:
        assert call_tool(tools, ToolCall("add", {"a": 1})).text == "2"


IMPORTED_ELSEWHERE = """
import sys, tempfile
stderr, sys.stderr = sys.stderr, tempfile.TemporaryFile("w+")
import mcp
sys.stderr.close()
sys.stderr = stderr
from gemma.gm.tools import McpTools
with McpTools.from_command([sys.executable, sys.argv[1]]) as tools:
    print(len(list(tools)))
"""


@needs_mcp
def test_where_stderr_went_at_import_does_not_matter(tools):
    """As in a test whose output was captured: the file is closed when it ends."""
    command = [sys.executable, "-c", IMPORTED_ELSEWHERE, str(SERVER)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(printed.stdout) == len(list(tools))


@needs_mcp
@pytest.mark.slow
def test_server_is_reached_by_http(url):
    with McpTools.from_url(url) as tools:
        assert call_tool(tools, ToolCall("add", {"a": 2})) == ToolResult("add", "3")


@needs_mcp
@pytest.mark.slow
@pytest.mark.parametrize("url", [True], indirect=True)
def test_server_that_asks_who_one_is(url):
    with pytest.raises(ConnectionError, match="error response"), McpTools.from_url(url):
        pass
    with McpTools.from_url(url, headers={"Authorization": SECRET}) as tools:
        assert call_tool(tools, ToolCall("add", {"a": 2})) == ToolResult("add", "3")


@needs_mcp
@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["no-such-program"], "FileNotFoundError"),
        ([sys.executable, "-c", "pass"], "MCPError: Connection closed"),
    ],
)
def test_command_that_is_no_server_is_named(command, says):
    opening = McpTools.from_command(command)
    with pytest.raises(ConnectionError, match=f"Cannot open.*{command[-1]}: {says}"):
        opening.__enter__()


@needs_mcp
@pytest.mark.slow
def test_address_without_a_server_is_named():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # held, but not listening
        opening = McpTools.from_url(f"http://127.0.0.1:{unused.getsockname()[1]}/mcp")
        with pytest.raises(
            ConnectionError, match=r"Cannot open the MCP server http://"
        ):
            opening.__enter__()


@needs_mcp
@pytest.mark.parametrize("command", ["python server.py", []])
def test_command_is_a_list(command):
    with pytest.raises(TypeError, match="a list of strings is needed"):
        McpTools.from_command(command)


@pytest.mark.parametrize(
    "make", [lambda: McpTools.from_url("x"), lambda: McpTools.from_command(["x"])]
)
def test_missing_package_is_named(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ImportError, match=r"pip install 'gemma-jax\[mcp\]'"):
        make()
