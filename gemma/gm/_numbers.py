"""Numbers that callers pass: of the right type, not NaN, and in range."""

import math
import operator
from typing import Any

FLOAT32_MAX = (2 - 2**-23) * 2.0**127
# Logits are float32. Penalties up to here, for each token of a long answer, are rounded
# away beside the largest float32, so that sums with a bias stay finite.
PENALTY_MAX = 1e25


def check_count(
    name: str, value: Any, *, at_least: int | None = None, at_most: int | None = None
) -> int:
    """Returns an option that counts something, as an int.

    Args:
      name: The option, as its caller calls it.
      value: What was passed: an int, or an integer of numpy or JAX.
      at_least: The smallest that is allowed.
      at_most: The largest that is allowed.

    Raises:
      TypeError: It is no integer. A bool is none, nor is a float such as 2.0.
      ValueError: It is out of range.
    """
    try:
        if _is_bool(value):
            raise TypeError
        count = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} is {value!r}, of type {type(value).__name__}; "
            "it must be an integer."
        ) from None
    if at_least is not None and count < at_least:
        raise ValueError(f"{name} is {count}; it must be {at_least} or more.")
    if at_most is not None and count > at_most:
        raise ValueError(f"{name} is {count}; it must be {at_most:,} or less.")
    return count


def check_optional_count(
    name: str, value: Any, *, at_least: int, at_most: int | None = None
) -> int | None:
    """Returns such an option, or None if it was left out; see `check_count`."""
    if value is None:
        return None
    return check_count(name, value, at_least=at_least, at_most=at_most)


def check_number(
    name: str,
    value: Any,
    *,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    above: float = -math.inf,
    may_be_infinite: bool = False,
) -> float:
    """Returns an option that is a finite number, as a float.

    Args:
      name: The option, as its caller calls it.
      value: What was passed: a number, or a scalar of numpy or JAX.
      at_least: The smallest that is allowed.
      at_most: The largest that is allowed.
      above: It must be larger than this.
      may_be_infinite: Whether +inf is a value, such as for a time to wait.

    Raises:
      TypeError: It is no number. A bool is none, nor is a str.
      ValueError: It is NaN, infinite or out of range.
    """
    try:
        if _is_bool(value) or isinstance(value, str | bytes) or _ndim(value):
            raise TypeError
        number = float(value)
    except TypeError:
        raise TypeError(
            f"{name} is {value!r}, of type {type(value).__name__}; it must be a number."
        ) from None
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) and not (may_be_infinite and number == math.inf):
        raise ValueError(f"{name} is {value}; it must be a finite number.")
    if not (at_least <= number <= at_most and number > above):
        wanted = _range_text(at_least, at_most, above)
        raise ValueError(f"{name} is {value}; it must {wanted}.")
    return number


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) == "bool"


def _ndim(value: Any) -> int:
    return getattr(value, "ndim", 0)


def _range_text(at_least: float, at_most: float, above: float) -> str:
    if at_least == -at_most > -math.inf:
        return f"lie between -{at_most:.8g} and {at_most:.8g}"
    if at_most < math.inf:
        opening, low = ("(", above) if above > -math.inf else ("[", at_least)
        return f"lie in {opening}{low:g}, {at_most:g}]"
    if above > -math.inf:
        return f"be above {above:g}"
    return f"be a number of {at_least:g} or more"
