"""Tools, written down for the model that may call them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from textwrap import indent
from typing import Any, Protocol

from gemma.gm.dialog._tool_format import ToolFormat
from gemma.gm.dialog._tool_names import check_name, check_python_name
from gemma.gm.dialog._tool_notation import (
    plain_value,
    without_control_tokens,
    write_key,
    write_string,
    write_value,
)
from gemma.gm.dialog._tool_schema import (
    MAX_SCHEMA_DEPTH,
    Schema,
    alternatives,
    properties_of,
    resolved,
    type_name_of,
)

_PYTHON_TYPES = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
    "array": "list",
    "object": "dict",
}


class Declared(Protocol):
    """What a declaration says of a tool.

    Attributes:
        name: What a call names.
        description: What the tool does.
        parameters: A JSON schema of the object of its arguments.
    """

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...


def declare_tools(tools: Sequence[Declared], format: ToolFormat) -> str:
    """Returns what a system prompt says of the tools; nothing if there are none.

    Args:
        tools: What may be called.
        format: How the model writes and reads them.

    Raises:
        ValueError: The format cannot write the name of a tool or of a parameter.

    Example:
        >>> from types import SimpleNamespace
        >>> from gemma.gm.dialog import GEMMA4
        >>> tool = SimpleNamespace(name="now", description="The time.", parameters={})
        >>> declare_tools([tool], GEMMA4)
        '<|tool>declaration:now{description:<|"|>The time.<|"|>}<tool|>'
    """
    if not tools:
        return ""
    for tool in tools:
        check_name(tool.name, format)
    write = {"json": _in_json, "python": _in_python, "gemma": _in_notation}
    declarations = (
        f"{format.declaration_open}{write[format.style](tool, format)}"
        f"{format.declaration_close}"
        for tool in tools
    )
    return "".join([format.before, *declarations, format.after])


def _in_json(tool: Declared, format: ToolFormat) -> str:
    stated = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    return json.dumps(plain_value(stated), ensure_ascii=False)


def _in_python(tool: Declared, format: ToolFormat) -> str:
    """Returns the tool as a function without a body."""
    signature = ", ".join(_python_parameters(tool.parameters))
    lines = [tool.description.strip(), *_python_descriptions(tool.parameters)]
    # What a description holds must not end the docstring.
    docstring = "\n".join(filter(None, lines)).replace('"""', "'''")
    return f"def {tool.name}({signature}):\n" + indent(f'"""{docstring}"""', "    ")


def _python_parameters(schema: Schema) -> Iterator[str]:
    required = schema.get("required", ())
    properties = properties_of(schema)
    # Python wants parameters without a default first.
    for name in sorted(properties, key=lambda name: name not in required):
        check_python_name(name, "parameter")
        stated = f"{name}: {_python_type(properties[name], schema)}"
        if name not in required:
            default = resolved(properties[name], schema).get("default", ...)
            stated += f" = {'...' if default is ... else repr(default)}"
        yield stated


def _python_descriptions(schema: Schema) -> Iterator[str]:
    described = {
        name: text
        for name, part in properties_of(schema).items()
        if (text := resolved(part, schema).get("description"))
    }
    if described:
        yield "\nArgs:"
    for name, text in described.items():
        yield f"    {name}: {text}"


def _python_type(schema: object, root: Schema, depth: int = 0) -> str:
    """Returns a type hint, or what a reader of Python takes for one."""
    if depth > MAX_SCHEMA_DEPTH:
        return "object"
    hints = (_python_type_of(one, root, depth) for one in alternatives(schema, root))
    return " | ".join(dict.fromkeys(hints)) or "object"


def _python_type_of(schema: Schema, root: Schema, depth: int) -> str:
    match schema:
        case {"enum": [*values]}:
            return f"Literal[{', '.join(map(repr, values))}]"
        case {"items": Mapping() as items}:
            return f"list[{_python_type(items, root, depth + 1)}]"
        case {"properties": Mapping() as properties}:
            inner = (
                f"{name!r}: {_python_type(part, root, depth + 1)}"
                for name, part in properties.items()
            )
            return f"{{{', '.join(inner)}}}"
        case {"additionalProperties": Mapping() as values}:
            return f"dict[str, {_python_type(values, root, depth + 1)}]"
    return _PYTHON_TYPES.get(type_name_of(schema), "object")


def _in_notation(tool: Declared, format: ToolFormat) -> str:
    """Returns the tool as the published templates write it."""
    description = without_control_tokens(tool.description, format.control_tokens)
    stated = [f"description:{write_string(description, format.quote)}"]
    if tool.parameters:
        schema = without_control_tokens(tool.parameters, format.control_tokens)
        inner = [_required_and_types(schema, ["object"], format.quote)]
        if properties_of(schema):
            inner.insert(0, _properties(schema, schema, format.quote, depth=0))
        stated.append(f"parameters:{{{','.join(inner)}}}")
    return f"declaration:{tool.name}{{{','.join(stated)}}}"


def _properties(schema: Schema, root: Schema, quote: str, depth: int) -> str:
    properties = properties_of(schema)
    inner = (
        f"{write_key(name, quote)}:{_schema(properties[name], root, quote, depth + 1)}"
        for name in sorted(properties, key=str.lower)
    )
    return f"properties:{{{','.join(inner)}}}"


def _schema(schema: object, root: Schema, quote: str, depth: int) -> str:
    """Returns what the notation says of one value; null is an adjective there."""
    if depth > MAX_SCHEMA_DEPTH:
        return "{}"
    found = list(alternatives(schema, root))
    others = [one for one in found if type_name_of(one) != "null"]
    merged = {k: v for one in [*others, resolved(schema, root)] for k, v in one.items()}
    types = list(dict.fromkeys(filter(None, map(type_name_of, others))))
    stated = []
    if merged.get("description"):
        stated.append(f"description:{write_string(merged['description'], quote)}")
    if merged.get("enum"):
        stated.append(f"enum:{write_value(list(merged['enum']), quote)}")
    if isinstance(items := merged.get("items"), Mapping):
        stated.append(f"items:{_schema(items, root, quote, depth + 1)}")
    if len(others) < len(found) or merged.get("nullable"):
        stated.append("nullable:true")
    if "object" in types:
        stated.append(_properties(merged, root, quote, depth))
    stated.append(_required_and_types(merged, types, quote))
    return f"{{{','.join(filter(None, stated))}}}"


def _required_and_types(schema: Schema, types: list[str], quote: str) -> str:
    stated = []
    if schema.get("required"):
        stated.append(f"required:{write_value(list(schema['required']), quote)}")
    names: list[object] = [name.upper() for name in types]
    if names:
        stated.append(f"type:{write_value(names if names[1:] else names[0], quote)}")
    return ",".join(stated)
