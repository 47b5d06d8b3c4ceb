"""What a sampler is told once, for all of its answers."""

from collections.abc import Sequence
from typing import Any

from gemma.gm._numbers import check_count, check_optional_count
from gemma.gm.text._custom_sampling import AnySampling
from gemma.gm.text._options import check_list
from gemma.gm.text._sampling import Sampling


class AnswerDefaults:
    """Options of answers, which a call may override.

    Attributes:
      sampling: How tokens are chosen.
      forbidden_tokens: Tokens that are never chosen.
      stop_tokens: Tokens that end an answer, besides the model's own.
      max_out_length: The most tokens of an answer; None for what the cache has room for.
      pad_length: Kept for code written for DeepMind's library, where prompts are padded
        to one of these lengths. Here they go through the model in chunks instead.
    """

    def __init__(
        self,
        *,
        sampling: AnySampling | None = None,
        forbidden_tokens: Sequence[str | int] | None = None,
        stop_tokens: Sequence[str | int] | None = None,
        max_out_length: int | None = None,
        pad_length: int | Sequence[int] | None = None,
    ):
        self.sampling = Sampling() if sampling is None else sampling
        self.forbidden_tokens = _tuple("forbidden_tokens", forbidden_tokens)
        self.stop_tokens = _tuple("stop_tokens", stop_tokens)
        self.max_out_length = check_optional_count(
            "max_out_length", max_out_length, at_least=1
        )
        lengths = pad_length if isinstance(pad_length, Sequence) else (pad_length,)
        for length in lengths:
            check_optional_count("pad_length", length, at_least=1)
        self.pad_length = pad_length

    def answer_limit(self, max_new_tokens: int | None) -> int | None:
        """Returns the most tokens of an answer.

        Raises:
          ValueError: More are asked for than `max_out_length`.
        """
        if max_new_tokens is None:
            return self.max_out_length
        max_new_tokens = check_count("max_new_tokens", max_new_tokens, at_least=1)
        if self.max_out_length is not None and max_new_tokens > self.max_out_length:
            raise ValueError(
                f"max_new_tokens is {max_new_tokens:,} but max_out_length is "
                f"{self.max_out_length:,}. Pass a larger max_out_length when you make "
                f"the {type(self).__name__}."
            )
        return max_new_tokens


def either(asked: Any, default: Any) -> Any:
    """Returns what a call asks for, or the default if it is None."""
    return default if asked is None else asked


def _tuple(name: str, tokens: Sequence[str | int] | None) -> tuple[str | int, ...]:
    check_list(name, tokens or ())
    return tuple(tokens or ())
