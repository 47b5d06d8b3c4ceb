"""What a model may do besides talking: Python functions and MCP servers as tools."""

from gemma.gm._lazy import lazily
from gemma.gm.tools._call import call_tool
from gemma.gm.tools._mcp import McpTools
from gemma.gm.tools._tool import Tool

__getattr__ = lazily(__name__)

__all__ = ["McpTools", "Tool", "call_tool"]
