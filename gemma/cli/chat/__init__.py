"""gemma chat: a conversation in the terminal."""

from gemma.cli.chat._command import chat

__all__ = ["chat"]
