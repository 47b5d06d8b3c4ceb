"""A tiny MCP server: `python mcp_server.py` speaks by pipes."""

import threading

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

server = MCPServer("tiny")


class Place(BaseModel):
    name: str
    lat: float = 0.0


@server.tool()
def add(a: int, b: int = 1) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def greet(place: Place) -> str:
    """Greets a place."""
    return f"Hello, {place.name}! 👋"


@server.tool()
def fail() -> str:
    """Always fails."""
    raise ToolError("no luck")


@server.tool()
def wait() -> str:
    """Never returns."""
    threading.Event().wait()
    return ""


if __name__ == "__main__":
    server.run("stdio")
