"""The parameters of a function, as a schema and as values that JSON gave."""

import enum
import inspect
import json
from collections.abc import Callable, Mapping
from functools import partial

from gemma.gm.tools._kinds import (
    Kind,
    Schema,
    described,
    kind_of,
    object_schema,
    read_entries,
)

_BY_NAME = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)


def arguments_kind(function: Callable[..., object], texts: Mapping[str, str]) -> Kind:
    """Returns the kind of a function's arguments, all of them as one object.

    Args:
        function: The function.
        texts: What its docstring says of its parameters.

    Raises:
        TypeError: It has a parameter that JSON cannot give.
    """
    parameters = _parameters(function)
    kinds = {parameter.name: _kind(parameter, function) for parameter in parameters}
    schemas = {
        parameter.name: described(
            {**kinds[parameter.name].schema, **_default(parameter)},
            texts.get(parameter.name),
        )
        for parameter in parameters
    }
    required = [p.name for p in parameters if p.default is inspect.Parameter.empty]

    return Kind(object_schema(schemas, required), partial(read_entries, kinds))


def _parameters(function: Callable[..., object]) -> list[inspect.Parameter]:
    name = name_of(function)
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError as error:
        raise TypeError(
            f"A type hint of {name} cannot be looked up: {error}. Use names that its"
            " module knows."
        ) from None
    for parameter in signature.parameters.values():
        if parameter.kind not in _BY_NAME:
            raise TypeError(
                f"{name} takes {parameter}, which has no name or no end; the arguments"
                " of a tool are named. Use ordinary parameters."
            )
    return list(signature.parameters.values())


def _kind(parameter: inspect.Parameter, function: Callable[..., object]) -> Kind:
    where = f"Parameter {parameter.name!r} of {name_of(function)}"
    if parameter.annotation is inspect.Parameter.empty:
        raise TypeError(f"{where} has no type hint, so no model knows what to pass.")
    return kind_of(parameter.annotation, where)


def _default(parameter: inspect.Parameter) -> Schema:
    """Returns what a schema says of a default; nothing if JSON cannot write it."""
    if parameter.default is inspect.Parameter.empty:
        return {}
    default = parameter.default
    value = default.value if isinstance(default, enum.Enum) else default
    try:
        return {"default": json.loads(json.dumps(value, allow_nan=False))}
    except (TypeError, ValueError):
        return {}


def name_of(function: Callable[..., object]) -> str:
    """Returns the name of a function; of an object that is called, its type's."""
    return getattr(function, "__name__", type(function).__name__)
