"""Names of tools: not every format can write every name."""

import keyword
import re

from gemma.gm.dialog._tool_format import ToolFormat

# What the notation of FunctionGemma and Gemma 4 leaves for names.
NOTATION_NAME = re.compile(r"[\w./:-]++")


def check_name(name: str, format: ToolFormat) -> None:
    """Raises ValueError if a call in this format could not name the tool."""
    if format.style == "python":
        check_python_name(name, "tool")
    if format.style == "gemma" and not NOTATION_NAME.fullmatch(name):
        raise ValueError(
            f"{format.name} cannot write the tool name {name!r}."
            " Use letters, digits, _, -, ., : and /."
        )


def check_python_name(name: str, what: str) -> None:
    """Raises ValueError where Python could not read a name."""
    for part in name.split("."):
        if not is_python_name(part):
            raise ValueError(
                f"Python cannot write the {what} name {name!r}."
                " Rename it, or use GEMMA3_JSON."
            )


def is_python_name(name: str) -> bool:
    """Returns whether Python reads a name as it was written."""
    # Python makes one letter of others outside ASCII, such as of a ligature.
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name)
