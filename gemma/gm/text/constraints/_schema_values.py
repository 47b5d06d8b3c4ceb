"""The literals, bounds and patterns of a schema, as llguidance can be trusted with."""

import json
import re
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any

from gemma.gm.text.constraints._examples import FORMAT_EXAMPLES, example_of

# A string with a pattern must not hold this character. So where an answer may go on with
# it, it may go on with any: `Matcher` finds the free strings by it.
MARK = "⁂"
# What JSON writes with \u only. llguidance drops the last, and we do not offer the others.
_UNWRITABLE = {chr(i) for i in range(32)} - set("\b\t\n\f\r") | {"\x7f"}
# Rust's reader of numbers is exact to 15 digits, llguidance's range is that of 64 bits.
_DIGITS = Context(prec=15, rounding=ROUND_CEILING)
_FARTHEST, _NEAREST = Decimal("1e18"), Decimal("1e-15")
_CLASS = re.compile(r"\[(?:\\.|[^\]\\])*\]", re.DOTALL)
_CONTROL = re.compile(
    r"[\x00-\x07\x0b\x0e-\x1f\x7f]"
    r"|(?<!\\)(?:\\\\)*\\"
    r"(?:[acv0]|[xu]\{|(?:x|u00)(?:0[0-7bBeEfF]|1|7[fF]))"
)


class ConstraintError(ValueError):
    """Nothing can match a constraint, or it asks for something that is not supported."""


def narrow_values(node: dict[str, Any]) -> None:
    """Changes a schema, but for those inside, so that llguidance takes it as it is meant.

    Raises:
      ConstraintError: It has a literal or a pattern that llguidance cannot write.
    """
    _check_literals(node)
    _tighten_bounds(node)
    _tighten_pattern(node)


def words_of(node: dict[str, Any]) -> list[str]:
    """Returns parts of the values of a narrowed schema that may be hard to find."""
    texts = [FORMAT_EXAMPLES.get(str(node.get("format")))]
    if isinstance(pattern := node.get("pattern"), str):
        texts.append(example_of(pattern))
    words = [json.dumps(text, ensure_ascii=False)[1:-1] for text in texts if text]
    if node.get("multipleOf"):
        step, least = (_as_decimal(node.get(k, 0)) for k in ("multipleOf", "minimum"))
        words.append(f"{step * (least / step).to_integral_value(ROUND_CEILING):f}")
    return words


def _check_literals(node: dict[str, Any]) -> None:
    """Raises if llguidance would write a literal as another one."""
    enum = node.get("enum", [])
    waiting = [node.get("const"), *(enum if isinstance(enum, list) else [])]
    while waiting:
        match waiting.pop():
            case dict(value):
                waiting += value.values()
            case list(value):
                waiting += value
            case str(value) if _UNWRITABLE & set(value):
                raise ConstraintError(
                    f"The schema asks for the text {value!r}, which constrained answers"
                    " cannot write: it holds a control character."
                )
            case bool():
                pass
            case int(value) | float(value) if not _is_exact(value):
                raise ConstraintError(
                    f"The schema asks for the number {value!r}, which has more digits"
                    " than constrained answers can keep."
                )


def _is_exact(number: float) -> bool:
    if isinstance(number, int):
        return abs(number) <= 2**53
    num_digits = len(Decimal(str(number)).normalize().as_tuple().digits)
    return num_digits <= _DIGITS.prec and abs(number) < 10**_DIGITS.prec


def _tighten_bounds(node: dict[str, Any]) -> None:
    """Moves the bounds of numbers inward, to numbers that llguidance reads exactly.

    An answer may have more digits than a float: 0.99999999999999999999 is below 1, and
    is 1 when it is read. So an exclusive bound becomes an inclusive one that is closer.
    """
    for inclusive, exclusive, sign in (
        ("minimum", "exclusiveMinimum", 1),
        ("maximum", "exclusiveMaximum", -1),
    ):
        stated = {name: node.pop(name, None) for name in (inclusive, exclusive)}
        bounds = _lower_bounds(stated[inclusive], stated[exclusive], sign)
        if bounds:
            bound = sign * max(*bounds, -_FARTHEST)
            node[inclusive] = int(bound) if bound == int(bound) else float(bound)


def _lower_bounds(inclusive: object, exclusive: object, sign: int) -> list[Decimal]:
    """Returns inclusive lower bounds of `sign` times the value."""
    # Draft 4 says whether "minimum" is exclusive.
    if isinstance(exclusive, bool):
        inclusive, exclusive = (None, inclusive) if exclusive else (inclusive, None)
    bounds = []
    if inclusive is not None:
        bound = sign * _as_decimal(inclusive)
        bounds.append(_NEAREST if 0 < bound < _NEAREST else _DIGITS.plus(bound))
    if exclusive is not None:
        bound = sign * _as_decimal(exclusive)
        next_bound = _DIGITS.next_plus(_DIGITS.plus(bound))
        bounds.append(_NEAREST if 0 <= bound < _NEAREST else next_bound)
    # So many digits behind the point would be too many.
    return [Decimal(0) if -_NEAREST < bound < 0 else bound for bound in bounds]


def _as_decimal(bound: object) -> Decimal:
    if isinstance(bound, bool) or not isinstance(bound, int | float):
        raise ConstraintError(
            f"A bound of the schema is {bound!r}, which is no number."
        )
    # 0.1 means what is read as 0.1. From here on whole numbers are finer than floats.
    return Decimal(bound) if abs(bound) >= 2**53 else Decimal(str(bound))


def _tighten_pattern(node: dict[str, Any]) -> None:
    """Forbids `MARK` in a string with a pattern."""
    if isinstance(pattern := node.get("pattern"), str):
        _check_pattern(pattern)
        # With the type, if it is known: llguidance would look at all six.
        types = {"type": "string"} if node.get("type") == "string" else {}
        without_mark = types | {"pattern": f"^[^{MARK}]*$"}
        node["allOf"] = [*node.get("allOf", []), without_mark]


def _check_pattern(pattern: str) -> None:
    """Raises if a pattern asks for a letter that llguidance would leave out."""
    if _CONTROL.search(_CLASS.sub("", pattern)):
        raise ConstraintError(
            f"The schema has the pattern {pattern!r}, which constrained answers cannot"
            " write: it holds a control character."
        )
