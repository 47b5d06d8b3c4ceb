"""Type hints, and the JSON that stands for their values."""

import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Required, Union

from gemma.gm.tools._arguments import check
from gemma.gm.tools._docstring import read_docstring

Schema = dict[str, Any]

_SIMPLE: list[tuple[Any, str]] = [
    (str, "string"),
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (None, "null"),
    (type(None), "null"),
    (list, "array"),
    (dict, "object"),
]


class Kind(NamedTuple):
    """What a type hint asks for.

    Attributes:
        schema: The JSON values that stand for its values.
        read: Returns the Python value that such a JSON value stands for.
    """

    schema: Schema
    read: Callable[[Any], Any]


def kind_of(hint: Any, where: str, around: tuple[type, ...] = ()) -> Kind:
    """Returns what a type hint asks for.

    Args:
        hint: The hint.
        where: What has this hint, for errors.
        around: The classes that hold it, which it cannot hold again.

    Raises:
        TypeError: JSON has no such values, or the hint is not known here.
    """
    for known, name in _SIMPLE:
        if hint is known:
            return Kind({"type": name}, _as_it_is)
    if hint is Any or hint is object:
        return Kind({}, _as_it_is)
    if isinstance(hint, type) and typing.get_origin(hint) is None:
        return _class_kind(hint, where, around)
    return _generic_kind(hint, where, around)


def described(schema: Schema, text: str | None) -> Schema:
    """Returns a schema with a description, if there is one and it has none."""
    if not text or "description" in schema:
        return schema
    return {**schema, "description": text}


def object_schema(properties: dict[str, Schema], required: list[str]) -> Schema:
    """Returns the schema of an object with these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def read_entries(
    kinds: Mapping[str, Kind], entries: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the values of an object; Python itself complains of names it lacks."""
    return {
        name: kinds[name].read(value) if name in kinds else value
        for name, value in entries.items()
    }


def _as_it_is(value: Any) -> Any:
    return value


def _generic_kind(hint: Any, where: str, around: tuple[type, ...]) -> Kind:
    args = typing.get_args(hint)
    match typing.get_origin(hint):
        case origin if origin is Annotated:
            kind = kind_of(args[0], where, around)
            text = next((note for note in args[1:] if isinstance(note, str)), None)
            return Kind(described(kind.schema, text), kind.read)
        case origin if origin in (Required, NotRequired):
            return kind_of(args[0], where, around)
        case origin if origin in (Union, types.UnionType):
            return _union_kind([kind_of(arg, where, around) for arg in args])
        case origin if origin is Literal:
            return Kind(_choice_schema(args, hint, where), _as_it_is)
        case origin if origin is list and args:
            return _list_kind(kind_of(args[0], where, around))
        case origin if origin is dict and args[:1] == (str,):
            return _dict_kind(kind_of(args[1], where, around))
    raise _unsupported(hint, where)


def _union_kind(kinds: list[Kind]) -> Kind:
    def read(value: Any) -> Any:
        fits = (kind for kind in kinds if not check(value, kind.schema).problems)
        kind = next(fits, None)
        return value if kind is None else kind.read(value)

    return Kind({"anyOf": [kind.schema for kind in kinds]}, read)


def _list_kind(items: Kind) -> Kind:
    def read(value: Any) -> list[Any]:
        return [items.read(item) for item in value]

    return Kind({"type": "array", "items": items.schema}, read)


def _dict_kind(values: Kind) -> Kind:
    def read(value: Any) -> dict[str, Any]:
        return {key: values.read(part) for key, part in value.items()}

    return Kind({"type": "object", "additionalProperties": values.schema}, read)


def _class_kind(hint: type, where: str, around: tuple[type, ...]) -> Kind:
    if issubclass(hint, enum.Enum):
        values = tuple(member.value for member in hint)
        return Kind(_choice_schema(values, hint, where), hint)
    if hint in around:
        raise TypeError(f"{where}: {hint.__name__} holds itself, so it has no end.")
    if dataclasses.is_dataclass(hint):
        return _dataclass_kind(hint, where, (*around, hint))
    if typing.is_typeddict(hint):
        return _typed_dict_kind(hint, where, (*around, hint))
    raise _unsupported(hint, where)


def _dataclass_kind(hint: Any, where: str, around: tuple[type, ...]) -> Kind:
    fields = [field for field in dataclasses.fields(hint) if field.init]
    kinds = _kinds_of_fields(hint, [field.name for field in fields], where, around)
    required = [field.name for field in fields if not _has_default(field)]

    def read(value: Any) -> Any:
        return value if isinstance(value, hint) else hint(**read_entries(kinds, value))

    schemas = {name: kind.schema for name, kind in kinds.items()}
    return Kind(object_schema(schemas, required), read)


def _typed_dict_kind(hint: Any, where: str, around: tuple[type, ...]) -> Kind:
    kinds = _kinds_of_fields(hint, hint.__annotations__, where, around)
    required = [name for name in kinds if name in hint.__required_keys__]
    schemas = {name: kind.schema for name, kind in kinds.items()}
    return Kind(object_schema(schemas, required), partial(read_entries, kinds))


def _kinds_of_fields(
    hint: type, names: Iterable[str], where: str, around: tuple[type, ...]
) -> dict[str, Kind]:
    """Returns the kinds of some fields of a class, described by its docstring."""
    texts = read_docstring(inspect.getdoc(hint) or "").entries
    try:
        hints = typing.get_type_hints(hint, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{where}: a type hint of {hint.__name__} cannot be looked up: {error}."
            " Use names that its module knows."
        ) from None
    kinds = {}
    for name in names:
        kind = kind_of(hints[name], f"{where}, {hint.__name__}.{name}", around)
        kinds[name] = Kind(described(kind.schema, texts.get(name)), kind.read)
    return kinds


def _has_default(field: "dataclasses.Field[Any]") -> bool:
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


def _choice_schema(values: tuple[Any, ...], hint: Any, where: str) -> Schema:
    names = {name for value in values for t, name in _SIMPLE if type(value) is t}
    if not all(isinstance(value, str | int | float | None) for value in values):
        raise _unsupported(hint, where)
    schema: Schema = {"enum": list(values)}
    return {"type": names.pop(), **schema} if len(names) == 1 else schema


def _unsupported(hint: Any, where: str) -> TypeError:
    name = hint.__name__ if isinstance(hint, type) else str(hint)
    return TypeError(
        f"{where} has the type hint {name}, which a tool cannot take. Use str, int,"
        " float, bool, None, list[...], dict[str, ...], Literal, an enum, a union, a"
        " dataclass or a TypedDict of these."
    )
