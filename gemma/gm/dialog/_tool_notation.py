"""The notation of values that FunctionGemma and Gemma 4 were trained on.

It is JSON with bare keys in alphabetical order, and with a control token on both sides of
a string in the place of quotation marks: `{city:<escape>Oslo<escape>,days:3}`. Within a
string nothing needs an escape, and nothing can be one.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

# Deeper than any schema asks for, and far from where Python gives up.
MAX_DEPTH = 64

_SPACE = re.compile(r"\s*+")
_BARE_KEY = re.compile(r"[^\s:,{}\[\]\"<>]++")
_WORD = re.compile(r"[^,{}\[\]]*+")
_NAMED = {
    "true": True,
    "false": False,
    "null": None,
    # Python's own names, where a model falls back on them.
    "True": True,
    "False": False,
    "None": None,
}


def plain_value(value: object, depth: int = 0) -> object:
    """Returns a value in the types that JSON has; ValueError if they cannot hold it."""
    if depth > MAX_DEPTH:
        raise ValueError(f"values are nested more than {MAX_DEPTH} deep")
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if math.isfinite(value):
                return value
            raise ValueError(f"{value} is not a number that JSON has")
        case Mapping():
            if all(isinstance(key, str) for key in value):
                return {k: plain_value(v, depth + 1) for k, v in value.items()}
            raise ValueError("a key of an object is not a string")
        case list() | tuple():
            return [plain_value(item, depth + 1) for item in value]
    raise ValueError(f"a {type(value).__name__} is not a value that JSON has")


def write_value(value: object, quote: str) -> str:
    """Returns a plain value in the notation."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return write_string(value, quote)
        case dict():
            return f"{{{write_entries(value, quote)}}}"
        case list():
            return f"[{','.join(write_value(item, quote) for item in value)}]"
    # None is written as the published templates write it.
    return str(value)


def write_entries(entries: Mapping[str, object], quote: str) -> str:
    """Returns the entries of an object, without its braces."""
    return ",".join(
        f"{write_key(key, quote)}:{write_value(entries[key], quote)}"
        for key in sorted(entries, key=str.lower)
    )


def write_string(text: str, quote: str) -> str:
    """Returns a string in the notation."""
    if quote in text:
        raise ValueError(f"{text[:50]!r} holds {quote}, which ends a string here.")
    return f"{quote}{text}{quote}"


def write_key(key: str, quote: str) -> str:
    """Returns the key of an entry: bare, where that can be read back."""
    return key if _BARE_KEY.fullmatch(key) else write_string(key, quote)


def without_control_tokens(value: Any, tokens: tuple[str, ...]) -> Any:
    """Returns a value whose strings hold none of the tokens, which would end them.

    A space after the `<` makes plain text of a token.
    """
    match value:
        case str():
            for token in tokens:
                value = value.replace(token, f"< {token[1:]}")
            return value
        case Mapping():
            return {
                without_control_tokens(key, tokens): without_control_tokens(
                    part, tokens
                )
                for key, part in value.items()
            }
        case list() | tuple():
            return [without_control_tokens(part, tokens) for part in value]
    return value


def read_object(text: str, at: int, quote: str) -> tuple[dict[str, object], int]:
    """Returns the object that starts at a place of a text, and where it ends.

    Strings without the control token, in quotation marks or bare, are taken too.

    Raises:
        ValueError: There is none, or it is not whole.
    """
    return _read_object(text, at, quote, depth=0)


def _read_value(text: str, at: int, quote: str, depth: int) -> tuple[object, int]:
    if depth > MAX_DEPTH:
        raise ValueError(f"values are nested more than {MAX_DEPTH} deep")
    if text.startswith("{", at):
        return _read_object(text, at, quote, depth)
    if text.startswith("[", at):
        return _read_list(text, at, quote, depth)
    if text.startswith((quote, '"'), at):
        return _read_string(text, at, quote)
    word = _WORD.match(text, at)
    assert word  # it matches nothing too
    return _value_of(word[0].strip()), word.end()


def _read_object(
    text: str, at: int, quote: str, depth: int
) -> tuple[dict[str, object], int]:
    if not text.startswith("{", at):
        raise ValueError("the { of the arguments is missing")
    entries: dict[str, object] = {}
    at = _after_space(text, at + 1)
    while not text.startswith("}", at):
        key, at = _read_key(text, at, quote)
        if key in entries:
            raise ValueError(f"{key!r} is given twice")
        entries[key], at = _read_value(text, at, quote, depth + 1)
        at = _after_comma(text, at, "}")
    return entries, at + 1


def _read_list(text: str, at: int, quote: str, depth: int) -> tuple[list[object], int]:
    items: list[object] = []
    at = _after_space(text, at + 1)
    while not text.startswith("]", at):
        item, at = _read_value(text, at, quote, depth + 1)
        items.append(item)
        at = _after_comma(text, at, "]")
    return items, at + 1


def _read_key(text: str, at: int, quote: str) -> tuple[str, int]:
    if text.startswith((quote, '"'), at):
        key, at = _read_string(text, at, quote)
    elif bare := _BARE_KEY.match(text, at):
        key, at = bare[0], bare.end()
    else:
        raise ValueError("a key or a } is missing")
    at = _after_space(text, at)
    if not text.startswith(":", at):
        raise ValueError(f"the : after {key[:50]!r} is missing")
    return key, _after_space(text, at + 1)


def _read_string(text: str, at: int, quote: str) -> tuple[str, int]:
    if not text.startswith(quote, at):
        return json.JSONDecoder(strict=False).raw_decode(text, at)
    start = at + len(quote)
    end = text.find(quote, start)
    if end < 0:
        raise ValueError(f"the {quote} that ends a string is missing")
    return text[start:end], end + len(quote)


def _value_of(word: str) -> object:
    """Returns the value of a bare word; one that is no number is a string."""
    if not word:
        raise ValueError("a value is missing")
    if word in _NAMED:
        return _NAMED[word]
    try:
        return plain_value(json.loads(word))
    except ValueError:
        return word


def _after_comma(text: str, at: int, end: str) -> int:
    """Returns where the next entry starts, or the mark that ends the list of them."""
    at = _after_space(text, at)
    if text.startswith(",", at):
        return _after_space(text, at + 1)
    if not text.startswith(end, at):
        raise ValueError(f"a comma or the {end} is missing")
    return at


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    assert space  # it matches nothing too
    return space.end()
