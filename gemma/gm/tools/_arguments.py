"""Whether arguments fit a schema, in words that a model can act on.

Types, properties, items and choices are checked. What else a schema may ask for, such as
bounds and patterns, is left to the tool.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}
_WORDS = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}
_MAX_REFERENCES = 8
_MAX_SHOWN_CHARS = 80


class Checked(NamedTuple):
    """What came of a check.

    Attributes:
        value: The value; 3.0 is 3 where the schema asks for an integer.
        problems: What is wrong with it; empty if nothing is.
    """

    value: Any
    problems: list[str]


def check(
    value: Any, schema: Any, where: str = "", root: Mapping[str, Any] | None = None
) -> Checked:
    """Checks a value against a schema.

    Args:
        value: Of the types that JSON has.
        schema: A JSON schema, or a part of one.
        where: Where the value is in the arguments; "" for all of them.
        root: The whole schema, where references point; None if `schema` is that.
    """
    whole: Mapping[str, Any] = schema if root is None else root
    schema = _resolved(schema, whole)
    checked = _check_type(value, schema, where)
    for part in schema.get("allOf", ()):
        checked = _then(checked, check(checked.value, part, where, whole))
    for key in ("anyOf", "oneOf"):
        if key in schema:
            checked = _then(
                checked, _check_any(checked.value, schema[key], where, whole)
            )
    if checked.problems:
        return checked  # what else could be said would only be confusing
    if isinstance(checked.value, dict):
        return _check_object(checked.value, schema, where, whole)
    if isinstance(checked.value, list) and "items" in schema:
        return _check_items(checked.value, schema["items"], where, whole)
    return checked


def expected(schema: Any, root: Mapping[str, Any]) -> str:
    """Returns what a schema asks for, in a few words."""
    schema = _resolved(schema, root)
    if "enum" in schema or "const" in schema:
        return f"one of {', '.join(map(_shown, _choices(schema)))}"
    parts = [
        expected(part, root)
        for key in ("anyOf", "oneOf")
        for part in schema.get(key, ())
    ]
    parts += [_WORDS.get(name, name) for name in _type_names(schema)]
    return " or ".join(dict.fromkeys(parts)) or "a value"


def _resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns a schema, or the one it refers to, such as `#/$defs/City`."""
    for _ in range(_MAX_REFERENCES):
        if not isinstance(schema, Mapping):
            return {}  # `true`: anything goes
        if not isinstance(reference := schema.get("$ref"), str):
            return schema
        schema = root
        for key in reference.removeprefix("#").strip("/").split("/"):
            schema = schema.get(key) if isinstance(schema, Mapping) else None
    return {}


def _then(first: Checked, second: Checked) -> Checked:
    return Checked(second.value, [*first.problems, *second.problems])


def _check_type(value: Any, schema: Mapping[str, Any], where: str) -> Checked:
    names = _type_names(schema)
    # JSON has one kind of number, and models write 3.0 where they mean 3.
    if "integer" in names and "number" not in names and isinstance(value, float):
        value = int(value) if value.is_integer() else value
    fits = not names or any(_is_a(value, name) for name in names)
    choices = _choices(schema)
    if fits and (not choices or any(_same(value, choice) for choice in choices)):
        return Checked(value, [])
    wanted = expected(schema, schema)
    return Checked(value, [f"{where or 'it'} must be {wanted}, not {_shown(value)}"])


def _type_names(schema: Mapping[str, Any]) -> list[str]:
    names = schema.get("type", [])
    return [names] if isinstance(names, str) else list(names)


def _choices(schema: Mapping[str, Any]) -> list[Any]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", []))


def _is_a(value: Any, name: str) -> bool:
    # To Python True is an int; to JSON it is not.
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES.get(name, ()))


def _same(value: Any, choice: Any) -> bool:
    return value == choice and isinstance(value, bool) == isinstance(choice, bool)


def _check_any(
    value: Any, parts: Iterable[Any], where: str, root: Mapping[str, Any]
) -> Checked:
    parts = list(parts)
    for part in parts:
        checked = check(value, part, where, root)
        if not checked.problems:
            return checked
    wanted = expected({"anyOf": parts}, root)
    return Checked(value, [f"{where or 'it'} must be {wanted}, not {_shown(value)}"])


def _check_object(
    value: dict[str, Any],
    schema: Mapping[str, Any],
    where: str,
    root: Mapping[str, Any],
) -> Checked:
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    problems = [
        f"{_inside(where, name)} is missing: {expected(properties.get(name), root)}"
        for name in schema.get("required", ())
        if name not in value
    ]
    found: dict[str, Any] = {}
    for name, part in value.items():
        if name not in properties and others is False:
            known = ", ".join(properties) or "none"
            problems.append(f"{_inside(where, name)} is unknown (known: {known})")
            continue
        inner = check(part, properties.get(name, others), _inside(where, name), root)
        found[name] = inner.value
        problems += inner.problems
    return Checked(found, problems)


def _check_items(
    value: list[Any], schema: Any, where: str, root: Mapping[str, Any]
) -> Checked:
    items = [check(v, schema, f"{where}[{i}]", root) for i, v in enumerate(value)]
    return Checked(
        [item.value for item in items],
        [problem for item in items for problem in item.problems],
    )


def _inside(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}..."
