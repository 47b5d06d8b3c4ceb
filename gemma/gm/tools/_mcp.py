"""Tools that a server offers over the Model Context Protocol."""

import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gemma.gm._numbers import check_number
from gemma.gm.tools._tool import Tool

if TYPE_CHECKING:
    import mcp
    from anyio.from_thread import BlockingPortal


class McpTools:
    """The tools of an MCP server, between `with` and its end.

    The official client runs in a thread of its own; the tools may be called from any.

    Example:
        ```python
        with McpTools.from_command(["python", "server.py"]) as tools:
            print([tool.name for tool in tools])
            result = call_tool(tools, ToolCall("search", {"query": "Oslo"}))
        ```
    """

    def __init__(
        self, make_client: "Callable[[], mcp.Client]", server_name: str
    ) -> None:
        self._make_client = make_client
        self._server_name = server_name
        self._stack = ExitStack()
        self._tools: tuple[Tool, ...] | None = None

    @classmethod
    def from_command(
        cls,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60,
    ) -> Self:
        """Returns the tools of a server that is started here and spoken to by pipes.

        Args:
            command: The program and its arguments.
            env: Environment variables for it. It inherits few, such as PATH and HOME,
                so that secrets stay here.
            timeout_s: How long to wait for each answer.

        Raises:
            ImportError: The `mcp` package is missing.
        """
        timeout_s = check_number("timeout_s", timeout_s, above=0, may_be_infinite=True)
        mcp = _import_mcp()
        if isinstance(command, str) or not command:
            raise TypeError(
                f"The command is {command!r}; a list of strings is needed, such as"
                " ['python', 'server.py']."
            )
        program, *args = command
        server = mcp.StdioServerParameters(
            command=program, args=args, env=dict(env or {})
        )

        def make_client() -> "mcp.Client":
            from mcp.client.stdio import stdio_client

            # Left alone, it writes where sys.stderr went when mcp was imported: that may
            # be closed by now.
            streams = stdio_client(server, errlog=sys.__stderr__)  # pyright: ignore
            return mcp.Client(streams, read_timeout_seconds=timeout_s)

        return cls(make_client, " ".join(command))

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60,
    ) -> Self:
        """Returns the tools of a server that is spoken to by HTTP (Streamable HTTP).

        Args:
            url: Its address, such as `http://localhost:8000/mcp`.
            headers: What goes with each request, such as
                `{"Authorization": f"Bearer {token}"}`.
            timeout_s: How long to wait for each answer.

        Raises:
            ImportError: The `mcp` package is missing.
        """
        timeout_s = check_number("timeout_s", timeout_s, above=0, may_be_infinite=True)
        mcp = _import_mcp()

        def make_client() -> "mcp.Client":
            server = _connection(url, headers or {}, timeout_s)
            return mcp.Client(server, read_timeout_seconds=timeout_s)

        return cls(make_client, url)

    def __enter__(self) -> Self:
        from anyio.from_thread import start_blocking_portal

        if self._tools is not None:
            raise RuntimeError(f"The server {self._server_name} is open already.")
        with ExitStack() as stack:
            try:
                portal = stack.enter_context(start_blocking_portal())
                client = self._make_client()
                stack.enter_context(portal.wrap_async_context_manager(client))
                listed = portal.call(_list_tools, client)
            except Exception as error:
                raise ConnectionError(
                    f"Cannot open the MCP server {self._server_name}: {_reason(error)}"
                ) from error
            self._tools = tuple(_as_tool(tool, client, portal) for tool in listed)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tools = None
        self._stack.__exit__(kind, error, traceback)

    def __iter__(self) -> Iterator[Tool]:
        if self._tools is None:
            raise RuntimeError(
                f"The server {self._server_name} is not open: use its tools inside"
                " `with ... as tools:`."
            )
        return iter(self._tools)


def _import_mcp() -> Any:
    try:
        import mcp
    except ImportError as error:
        raise ImportError(
            "The package mcp is missing, which speaks to MCP servers."
            " pip install 'gemma-jax[mcp]'"
        ) from error
    return mcp


@asynccontextmanager
async def _connection(
    url: str, headers: Mapping[str, str], timeout_s: float
) -> AsyncIterator[Any]:
    """Gives the two streams of a server that is spoken to by HTTP."""
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    # How long to wait for an answer is the client's to say: a stream may be silent.
    timeout = httpx2.Timeout(timeout_s, read=None)
    async with (
        httpx2.AsyncClient(headers=headers, timeout=timeout) as http,
        streamable_http_client(url, http_client=http) as streams,
    ):
        yield streams


async def _list_tools(client: "mcp.Client") -> "list[mcp.Tool]":
    """Returns what the server offers, page by page."""
    page = await client.list_tools()
    listed = list(page.tools)
    while page.next_cursor is not None:
        page = await client.list_tools(cursor=page.next_cursor)
        listed += page.tools
    return listed


def _as_tool(
    listed: "mcp.Tool", client: "mcp.Client", portal: "BlockingPortal"
) -> Tool:
    def run(**arguments: Any) -> object:
        result = portal.call(client.call_tool, listed.name, arguments)
        text = _text_of(result)
        if result.is_error:
            raise RuntimeError(text)
        return text

    return Tool(
        name=listed.name,
        description=listed.description or "",
        parameters=listed.input_schema,
        run=run,
    )


def _text_of(result: "mcp.types.CallToolResult") -> str:
    """Returns the text of a result; of pictures and sounds, only what they are."""
    texts = [
        content.text if content.type == "text" else f"[{content.type}]"
        for content in result.content
    ]
    if not texts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(texts)


def _reason(error: BaseException) -> str:
    """Returns what went wrong first: the client runs tasks, whose errors come in groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
