"""What a JSON schema says, without the detours it may take to say it."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

# A schema may refer to itself: what lies deeper is not written down.
MAX_SCHEMA_DEPTH = 8

_TYPES = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def properties_of(schema: Schema) -> Mapping[str, Any]:
    """Returns the properties of an object, which may have none."""
    properties = schema.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def alternatives(schema: object, root: Schema, depth: int = 0) -> Iterator[Schema]:
    """Yields schemas of one type each; a value that fits the schema fits one of them.

    Args:
        schema: Part of a schema.
        root: The whole, where its references point.
        depth: How deep in a schema of alternatives this one is.
    """
    schema = resolved(schema, root)
    parts = schema.get("anyOf") or schema.get("oneOf")
    if parts and depth < MAX_SCHEMA_DEPTH:
        for part in parts:
            yield from alternatives(part, root, depth + 1)
    elif isinstance(names := schema.get("type"), list):
        yield from ({**schema, "type": name} for name in names)
    else:
        yield schema


def resolved(schema: object, root: Schema) -> Schema:
    """Returns a schema, or the one in `root` that it refers to."""
    if not isinstance(schema, Mapping):
        return {}  # `true`: anything goes
    found: Any = schema
    for _ in range(MAX_SCHEMA_DEPTH):
        if not isinstance(reference := found.get("$ref"), str):
            break
        found = _look_up(reference, root)
    # What stands beside a reference describes its use in this place.
    return {**found, **schema} if found is not schema else schema


def type_name_of(schema: Schema) -> str:
    """Returns the type of a schema of one type, "" if it does not state one."""
    match schema:
        case {"type": str(name)}:
            return name
        case {"enum": [*values]}:
            names = {_TYPES.get(type(value), "") for value in values}
            return names.pop() if len(names) == 1 else ""
        case {"properties": _}:
            return "object"
    return ""


def _look_up(reference: str, root: Schema) -> Schema:
    """Returns the part of `root` at a place such as `#/$defs/City`."""
    found: Any = root
    for key in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
