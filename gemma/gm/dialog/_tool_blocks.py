"""Finds calls in what a model wrote, and reads them, never running anything.

Each reader yields (name, arguments) and raises ValueError, in words that a model can act
on, for what was meant as a call but is none.
"""

import ast
import json
import re
import warnings
from collections.abc import Iterator
from textwrap import dedent

from gemma.gm.dialog._fences import fences
from gemma.gm.dialog._tool_format import ToolFormat
from gemma.gm.dialog._tool_names import NOTATION_NAME
from gemma.gm.dialog._tool_notation import plain_value, read_object

# A call is short; a model that repeats itself without end is not waited for.
MAX_CALL_CHARS = 200_000

NameAndArguments = tuple[str, dict[str, object]]

_BARE_JSON = re.compile(r"^[ \t]*+[{\[]", re.MULTILINE)
_BETWEEN_VALUES = re.compile(r"[\s,;]*+")
_CALL = re.compile(rf"\s*+(?:call\s*+:)?\s*+(?P<name>{NOTATION_NAME.pattern})\s*+")


def blocks_in_json(text: str, format: ToolFormat) -> Iterator[NameAndArguments]:
    """Yields calls in blocks of JSON, or in bare JSON where there is no block."""
    blocks = list(fences(text))
    for label, body in blocks:
        if label == _label_of(format):
            yield from map(_json_call, _json_values(body))
        elif label == "tool_code" and not body.lstrip().startswith(("{", "[{")):
            # What Gemma writes by itself, however it was told to write calls.
            yield from map(_python_call, _call_nodes(_parsed(body)))
        elif label in format.other_fences:
            yield from _json_calls_if_any(body)
    if not blocks and (bare := _BARE_JSON.search(text)):
        yield from _json_calls_if_any(text[bare.start() :])


def blocks_in_python(text: str, format: ToolFormat) -> Iterator[NameAndArguments]:
    """Yields calls in blocks of Python, or in a bare list where there is no block."""
    blocks = list(fences(text))
    for label, body in blocks:
        if label == _label_of(format) or (
            label in format.other_fences and _is_list_of_calls(body)
        ):
            yield from map(_python_call, _call_nodes(_parsed(body)))
    if not blocks and _is_list_of_calls(text):
        yield from map(_python_call, _call_nodes(_parsed(text)))


def blocks_in_notation(text: str, format: ToolFormat) -> Iterator[NameAndArguments]:
    """Yields calls between control tokens. The last one may lack its end."""
    at = text.find(format.call_open)
    while at >= 0:
        start = at + len(format.call_open)
        named = _CALL.match(text, start)
        if not named:
            raise ValueError(f"the name of a tool is missing after {format.call_open}")
        arguments, end = read_object(text, named.end(), format.quote)
        _check_length(end - start)
        yield named["name"], arguments
        at = text.find(format.call_open, end)


def _label_of(format: ToolFormat) -> str:
    return format.call_open.strip("`\n")


def _check_length(num_chars: int) -> None:
    if num_chars > MAX_CALL_CHARS:
        raise ValueError(
            f"it has {num_chars:,} characters, and at most {MAX_CALL_CHARS:,} are read"
        )


def _json_calls_if_any(body: str) -> Iterator[NameAndArguments]:
    """Yields the calls in a block that may hold any other JSON."""
    # What names both keys was meant as a call, so it has to be readable JSON.
    names_both = '"name"' in body and ('"arguments"' in body or '"parameters"' in body)
    if names_both and body.lstrip().startswith(("{", "[")):
        values = list(_json_values(body))
        if all(map(_has_both_keys, values)):
            yield from map(_json_call, values)


def _has_both_keys(value: object) -> bool:
    return (
        isinstance(value, dict)
        and "name" in value
        and ("arguments" in value or "parameters" in value)
    )


def _json_values(body: str) -> Iterator[object]:
    """Yields the objects that a block starts with; those of a list one by one."""
    _check_length(len(body))
    num_values, at = 0, _start_of_json(body, 0)
    while body.startswith(("{", "["), at):
        value, at = _decoded(body, at)
        yield from value if isinstance(value, list) else [value]
        num_values, at = num_values + 1, _start_of_json(body, at)
    if not num_values:
        raise ValueError("the block does not start with a JSON object")


def _start_of_json(body: str, at: int) -> int:
    space = _BETWEEN_VALUES.match(body, at)
    assert space  # it matches nothing too
    return space.end()


def _decoded(body: str, at: int) -> tuple[object, int]:
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(body, at)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    except ValueError:
        raise ValueError("a number in it has too many digits") from None
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    return plain_value(value), end


def _json_call(value: object) -> NameAndArguments:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise ValueError('a call is a JSON object with a "name" that is a string')
    arguments = value.get("arguments", value.get("parameters", {}))
    # OpenAI's API writes them as a string of JSON, and so do models that saw much of it.
    if isinstance(arguments, str):
        arguments, _ = _decoded(arguments, 0)
    if not isinstance(arguments, dict):
        raise ValueError(f'the "arguments" of {value["name"]!r} are no JSON object')
    return value["name"], arguments


def _is_list_of_calls(body: str) -> bool:
    """Returns whether this is `[f(a=1), g()]`, which code samples hardly are."""
    body = body.strip()
    if not (body.startswith("[") and body.endswith(")]")):
        return False
    try:
        (statement,) = _parsed(body).body
    except ValueError:
        return False
    return isinstance(statement, ast.Expr) and all(
        isinstance(node, ast.Call) for node in _items_of(statement.value)
    )


def _parsed(body: str) -> ast.Module:
    _check_length(len(body))
    try:
        # A pattern such as "\d" in a call is no reason to warn the user.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(dedent(body).strip())
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno} is not Python: {error.msg}") from None
    except (MemoryError, RecursionError):
        raise ValueError("its Python is nested too deeply") from None


def _call_nodes(module: ast.Module) -> Iterator[ast.Call]:
    if not module.body:
        raise ValueError("the block is empty")
    for statement in module.body:
        if not isinstance(statement, ast.Expr):
            raise ValueError(f"line {statement.lineno} is not a call")
        for node in _items_of(statement.value):
            match node:
                case ast.Call(ast.Name("print"), [ast.Call() as call], []):
                    yield call
                case ast.Call():
                    yield node
                case _:
                    raise ValueError(f"line {node.lineno} is not a call")


def _items_of(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.List | ast.Tuple) else [node]


def _python_call(call: ast.Call) -> NameAndArguments:
    # Where Google's models were taught that tools live.
    name = _dotted_name(call.func).removeprefix("default_api.")
    if call.args:
        raise ValueError(f"{name} is called with an argument that has no name")
    arguments: dict[str, object] = {}
    for keyword in call.keywords:
        value = _literal(keyword.value, keyword.arg or "**")
        # **{"my-city": "Oslo"} is how Python passes names that it cannot write.
        given = value if keyword.arg is None else {keyword.arg: value}
        if not isinstance(given, dict):
            raise ValueError(f"what follows ** in the call of {name} is no dict")
        if twice := arguments.keys() & given.keys():
            raise ValueError(f"{name} is given {twice.pop()!r} twice")
        arguments |= given
    return name, arguments


def _dotted_name(node: ast.expr) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise ValueError(f"line {node.lineno} calls something that has no name")
    return ".".join([node.id, *reversed(parts)])


def _literal(node: ast.expr, name: str) -> object:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"the value of {name!r} is not a literal") from None
    return plain_value(value)
