"""A JSON schema, made ready for llguidance: no deeper, larger or looser than it can.

llguidance follows a schema by recursion, and one that is too deep ends the process. Here
and there its grammar is wider than the schema, which is mended by asking for less: an
answer that matches what `prepare` returns matches the schema.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from gemma.gm.text.constraints._schema_values import (
    MARK,
    ConstraintError,
    narrow_values,
    words_of,
)

# Characters, values inside values, properties of an object: these take time by the square.
_MAX_LENGTH, _MAX_DEPTH, _MAX_PROPERTIES = 1 << 18, 100, 1_000
# Schemas inside schemas, references followed: each takes 6 KB of the stack.
_MAX_LEVELS = 300
_UNSUPPORTED = frozenset(
    ["not", "if", "then", "else", "contains", "minContains", "maxContains",
     "uniqueItems", "propertyNames", "dependencies", "dependentRequired",
     "dependentSchemas", "unevaluatedItems", "unevaluatedProperties", "$dynamicRef",
     "$recursiveRef"]
)  # fmt: skip
# They do not restrict a value, or would change what "#/..." refers to.
_ANNOTATIONS = frozenset(
    ["title", "description", "default", "examples", "deprecated", "readOnly",
     "writeOnly", "$comment", "$schema", "$id", "id", "$anchor", "$dynamicAnchor",
     "x-guidance"]
)  # fmt: skip
_NAMED_SCHEMAS = ("properties", "patternProperties")
_LISTED_SCHEMAS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_SINGLE_SCHEMAS = ("items", "additionalItems", "additionalProperties")


@dataclass(frozen=True, slots=True)
class PreparedSchema:
    """A schema that llguidance can be trusted with.

    Attributes:
      schema: It matches nothing that the original does not.
      has_marks: Whether `MARK` stands for any character, as no literal holds it.
      has_names: Whether it states names of properties.
      words: Parts of answers, as JSON writes them, that are hard to find by letters.
    """

    schema: Mapping[str, Any]
    has_marks: bool
    has_names: bool
    words: tuple[str, ...]


def read_schema(schema: Mapping[str, Any] | str | bool) -> dict[str, Any] | bool:
    """Returns a schema as plain JSON values.

    Raises:
      ValueError: It is no JSON, or neither an object nor a boolean.
      TypeError: It is no text, mapping or boolean.
      ConstraintError: It is too deep or too large.
    """
    if not isinstance(schema, Mapping | str | bool):
        raise TypeError(
            "A JSON schema is a mapping, a boolean, or the text of one; found "
            f"{type(schema).__name__}."
        )
    value = _parse(schema) if isinstance(schema, str) else schema
    _check_size(value)
    try:
        plain = json.loads(json.dumps(value, allow_nan=False, default=_as_dict))
    except (TypeError, ValueError) as error:
        raise ValueError(f"The schema is not JSON: {error}.") from error
    if not isinstance(plain, dict | bool):
        found = json.dumps(plain)[:40]
        raise ValueError(f"A JSON schema is an object or a boolean; found {found}.")
    return plain


def prepare(schema: dict[str, Any] | bool) -> PreparedSchema:
    """Returns a schema for llguidance; changes `schema`, which is to be a copy.

    Raises:
      ConstraintError: It has a keyword that is not supported, a reference that leads
        nowhere, or too many levels; or nothing matches it.
    """
    if schema is False:
        raise ConstraintError("Nothing matches the schema `false`.")
    root = {} if schema is True else schema
    has_marks = MARK not in json.dumps(root, ensure_ascii=False)
    nodes = _reachable(root)
    has_names = any({"properties", "required"} & node.keys() for node in nodes)
    words = []
    for node in nodes:
        # A name that a pattern allows may hold the mark, and not every character.
        has_marks &= not node.get("patternProperties")
        _check_keywords(node)
        narrow_values(node)
        words += words_of(node)
    words = tuple(dict.fromkeys(words))
    return PreparedSchema(root, has_marks, has_names, words)


def _parse(text: str) -> Any:
    _check_length(len(text))
    try:
        return json.loads(text)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise ValueError(f"The schema is not JSON: {error}.") from error


def _check_size(value: object) -> None:
    """Raises if a value is too deep or too large, without recursion."""
    waiting, length = [(value, 1)], 0
    while waiting:
        found, depth = waiting.pop()
        length += len(found) if isinstance(found, str) else 1
        children = ()
        if isinstance(found, Mapping):
            length += sum(len(str(key)) for key in found)
            children = found.values()
        elif isinstance(found, list | tuple):
            children = found
        _check_length(length + len(children))
        if children and depth > _MAX_DEPTH:
            raise _too_deep()
        waiting += ((child, depth + 1) for child in children)


def _check_length(length: int) -> None:
    if length > _MAX_LENGTH:
        raise ConstraintError(
            f"The schema is too large: it has more than {_MAX_LENGTH:,} characters."
        )


def _too_deep() -> ConstraintError:
    return ConstraintError(
        f"The schema is too deep: values may stand {_MAX_DEPTH} deep in one another, and"
        f" schemas, references followed, {_MAX_LEVELS}."
    )


def _as_dict(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _reachable(root: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the schemas that an answer may have to match, each once.

    On its way down llguidance enters each target of a reference once. So it never
    stands deeper than the heights of them all together.
    """
    nodes, targets, heights, num_levels = [], [root], {}, 0
    for target in targets:
        fresh = _subschemas(target, heights)
        for node in reversed(fresh):
            below = (heights[id(child)] for child in _children(node))
            heights[id(node)] = 1 + max(below, default=0)
        num_levels += heights[id(target)]
        if num_levels > _MAX_LEVELS:
            raise _too_deep()
        for found in _referred(root, fresh):
            if not any(found is seen for seen in targets):
                targets.append(found)
        nodes += fresh
    return nodes


def _referred(
    root: dict[str, Any], nodes: Iterable[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yields the schemas that some schemas refer to."""
    for node in nodes:
        _check_identity(root, node)
        found = _resolve(root, node["$ref"]) if "$ref" in node else None
        if isinstance(found, dict):
            yield found


def _check_identity(root: object, node: object) -> None:
    """Raises where "#/..." would refer to a part of the schema."""
    if isinstance(node, dict) and isinstance(node.get("$id"), str) and node is not root:
        raise ConstraintError(
            "The schema uses '$id' below its top, which constrained answers do not"
            ' support. Leave it out, and refer to "#/$defs/...".'
        )


def _subschemas(root: dict[str, Any], known: Mapping[int, int]) -> list[dict[str, Any]]:
    """Returns a schema and those inside it, parents first, but for the known ones."""
    found, waiting = [], [root]
    while waiting:
        node = waiting.pop()
        if id(node) not in known:
            found.append(node)
            waiting += _children(node)
    return found


def _children(node: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the schemas directly inside a schema; llguidance reports what is none."""
    inside = [node.get(keyword) for keyword in _SINGLE_SCHEMAS]
    for keyword in _LISTED_SCHEMAS:
        if isinstance(found := node.get(keyword), list):
            inside += found
    for keyword in _NAMED_SCHEMAS:
        if isinstance(found := node.get(keyword), dict):
            inside += found.values()
    return (child for child in inside if isinstance(child, dict))


def _resolve(root: object, reference: object) -> object:
    """Returns what "#/..." refers to."""
    found = root
    if not isinstance(reference, str) or not re.match("#(/|$)", reference):
        raise ConstraintError(
            f"The reference {reference!r} is not supported: only those that begin with"
            ' "#/" are. Copy what it refers to into "$defs".'
        )
    for part in unquote(reference[1:]).split("/")[1:]:
        _check_identity(root, found)
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            raise ConstraintError(f"The schema has nothing at {reference!r}.")
    return found


def _check_keywords(node: dict[str, Any]) -> None:
    for name in _ANNOTATIONS & node.keys():
        del node[name]
    if node.get("uniqueItems") is False:
        del node["uniqueItems"]
    if found := sorted(_UNSUPPORTED & node.keys()):
        names = ", ".join(map(repr, found))
        raise ConstraintError(
            f"The schema uses {names}, which constrained answers do not support. Leave"
            " it out, and check the answer for it afterwards."
        )
    properties = node.get("properties")
    if isinstance(properties, dict) and len(properties) > _MAX_PROPERTIES:
        raise ConstraintError(
            f"The schema is too large: an object has more than {_MAX_PROPERTIES:,}"
            " properties."
        )
    _check_min_properties(node)


def _check_min_properties(node: Mapping[str, Any]) -> None:
    """Raises if names that are not listed would have to differ: they may repeat."""
    num_needed, required = node.get("minProperties"), node.get("required")
    is_closed = node.get("additionalProperties") is False
    if is_closed and not node.get("patternProperties"):
        return
    num_required = len(required) if isinstance(required, list) else 0
    if isinstance(num_needed, int) and num_needed - num_required > 1:
        raise ConstraintError(
            "The schema uses 'minProperties' for more than one property beyond the"
            " required ones, which constrained answers do not support: such names could"
            " repeat. Name the properties and require them."
        )
