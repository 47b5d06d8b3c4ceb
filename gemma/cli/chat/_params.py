"""How answers are made: what /params shows and sets."""

import dataclasses
import difflib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from gemma.cli.errors import CommandError

if TYPE_CHECKING:
    from gemma.gm.text import Sampling

# What is no field of Sampling.
_OWN = {"max_new_tokens", "seed"}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ChatParams:
    """How answers are made.

    Attributes:
      sampling: How tokens are drawn.
      max_new_tokens: The most tokens of an answer.
      seed: Makes the draws of a conversation repeatable; None for other ones each time.
    """

    sampling: "Sampling"
    max_new_tokens: int
    seed: int | None


def shown_params(params: ChatParams) -> str:
    """Returns the params, a line each."""
    values = {name: _written(value) for name, value in _items(params)}
    width = max(map(len, values))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in values.items())


def param_names(params: ChatParams) -> list[str]:
    """Returns what can be set."""
    return [name for name, _ in _items(params)]


def changed_params(params: ChatParams, words: str) -> ChatParams:
    """Returns the params with changes such as `temperature=0.7 top_k=40`.

    Raises:
      ValueError: A name is unknown, or a value is none that it may have.
    """
    changes = dict(_read_change(word, param_names(params)) for word in words.split())
    own = {key: changes.pop(key) for key in _OWN & changes.keys()}
    sampling = dataclasses.replace(params.sampling, **changes)
    return dataclasses.replace(params, sampling=sampling, **own)


def _items(params: ChatParams) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(params.sampling):
        yield field.name, getattr(params.sampling, field.name)
    yield "max_new_tokens", params.max_new_tokens
    yield "seed", params.seed


def _written(value: Any) -> str:
    """Returns a value as it may be typed behind its name."""
    if isinstance(value, dict):
        return ",".join(f"{key}:{bias:g}" for key, bias in value.items()) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def _read_change(word: str, names: list[str]) -> tuple[str, Any]:
    name, sign, value = word.partition("=")
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = (
            f"Did you mean {close[0]}?" if close else f"There are: {', '.join(names)}."
        )
        raise CommandError(f"There is no parameter {name!r}.", hint=hint)
    if not (sign and value):
        raise CommandError(
            f"{name} has no value.", hint=f"Write it so: /params {_EXAMPLES[name]}"
        )
    try:
        return name, _READERS.get(name, float)(value)
    except ValueError:
        raise CommandError(
            f"{name} cannot be {value!r}.",
            hint=f"Write it so: /params {_EXAMPLES[name]}",
        ) from None


def _read_max_new_tokens(value: str) -> int:
    count = int(value)
    if count < 1:
        raise ValueError("an answer has at least one token")
    return count


def _read_whole_or_none(value: str) -> int | None:
    return None if value == "none" else int(value)


def _read_bias(value: str) -> dict[int, float]:
    pairs = [] if value == "none" else [pair.split(":") for pair in value.split(",")]
    return {int(token_id): float(bias) for token_id, bias in pairs}


_READERS: dict[str, Callable[[str], Any]] = {
    "top_k": _read_whole_or_none,
    "logit_bias": _read_bias,
    "max_new_tokens": _read_max_new_tokens,
    "seed": _read_whole_or_none,
}
_EXAMPLES = {
    "temperature": "temperature=0.7",
    "top_k": "top_k=40 (or none)",
    "top_p": "top_p=0.9",
    "min_p": "min_p=0.05",
    "repetition_penalty": "repetition_penalty=1.1",
    "presence_penalty": "presence_penalty=0.5",
    "frequency_penalty": "frequency_penalty=0.5",
    "logit_bias": "logit_bias=236761:-5,107:-inf (ids of tokens; or none)",
    "max_new_tokens": "max_new_tokens=512",
    "seed": "seed=7 (or none)",
}
