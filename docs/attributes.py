"""How the API reference shows attributes: each once, with what the source says of it.

A class lists its fields in its docstring, so mkdocstrings leaves out fields without a
docstring of their own. Constants and values of enums have none either, but comments.
"""

from pathlib import Path
from typing import Any

import griffe


class CommentedAttributes(griffe.Extension):
    """Takes the comment above a constant or a value of an enum for its docstring."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        """Gives an attribute a docstring, an empty one if there is no comment."""
        del kwargs
        if attr.docstring is None and _is_constant(attr):
            attr.docstring = griffe.Docstring(_comment_above(attr), parent=attr)


def _is_constant(attr: griffe.Attribute) -> bool:
    parent = attr.parent
    if isinstance(parent, griffe.Class):
        return any("Enum" in str(base) for base in parent.bases)
    return isinstance(parent, griffe.Module)


def _comment_above(attr: griffe.Attribute) -> str:
    assert attr.lineno is not None
    assert isinstance(attr.filepath, Path)
    lines = attr.lines_collection[attr.filepath]
    comment: list[str] = []
    for line in reversed(lines[: attr.lineno - 1]):
        if not line.strip().startswith("# "):
            break
        comment.insert(0, line.strip().removeprefix("# "))
    return "\n".join(comment)
