"""Options of transformers that can have some values only, or none."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class FixedOption(NamedTuple):
    """An option that can be passed, but not changed.

    Attributes:
      values: What may be passed, since it is so anyway.
      reason: Why nothing else may, or what to do.
    """

    values: tuple[Any, ...]
    reason: str


def take_fixed(
    options: Mapping[str, Any], fixed: Mapping[str, FixedOption]
) -> dict[str, Any]:
    """Returns the options that are not among the fixed ones.

    Raises:
      TypeError: One of those has a value that cannot be honoured.
    """
    for name in fixed.keys() & options.keys():
        if not _is_one_of(options[name], fixed[name].values):
            raise TypeError(refusal(name, options[name], fixed[name]))
    return {name: value for name, value in options.items() if name not in fixed}


def refusal(name: str, value: Any, option: FixedOption) -> str:
    """Returns what is said of a value that cannot be honoured."""
    return f"{name}={value!r:.60} cannot be honoured: {option.reason}."


def _is_one_of(value: Any, values: tuple[Any, ...]) -> bool:
    # Arrays have no truth, and 0 is not False where None is a value besides.
    return any(value is v or (type(value) is type(v) and value == v) for v in values)
