"""How tokens are drawn: what people ask for, by the names they know."""

import dataclasses
from collections.abc import Mapping

from gemma.gm._numbers import FLOAT32_MAX, PENALTY_MAX, check_count, check_number

_SMALLEST_PENALTIES = {
    "repetition_penalty": 1 / PENALTY_MAX,
    "presence_penalty": -PENALTY_MAX,
    "frequency_penalty": -PENALTY_MAX,
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How one row draws its tokens. The defaults are greedy.

    What is set applies together, in the order of the attributes but for temperature,
    which divides after penalties and bias and before the cuts, as in transformers.

    Attributes:
      temperature: Divides the logits; 0 takes the most probable token.
      top_k: Draw among the k most probable tokens only; None for all.
      top_p: Draw among the most probable tokens that together have this mass; in
        (0, 1].
      min_p: Draw among tokens at least this probable relative to the best; in [0, 1].
      repetition_penalty: Divides the positive logits of tokens that prompt or answer
        have already, and multiplies the negative ones; above 0, 1 for none.
      presence_penalty: Taken from the logits of tokens that the answer has already.
      frequency_penalty: Taken as often as the answer has them.
      logit_bias: Added to the logits of some tokens, by id; -inf forbids a token.

    Raises:
      TypeError: A value is of the wrong type.
      ValueError: A value is out of range. Logits are float32: penalties lie within 1e25
        (the one of repetition from 1e-25 to 1e25), biases within float32's range.

    Reference: Holtzman et al. 2020 (top-p); Nguyen et al. 2024 (min-p); Keskar et al.
    2019, "CTRL" (repetition); OpenAI's API (presence, frequency, bias).
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        check_number("temperature", self.temperature, at_least=0)
        if self.top_k is not None:
            check_count("top_k", self.top_k, at_least=1)
        check_number("top_p", self.top_p, above=0, at_most=1)
        check_number("min_p", self.min_p, at_least=0, at_most=1)
        for name, smallest in _SMALLEST_PENALTIES.items():
            penalty = getattr(self, name)
            check_number(name, penalty, at_least=smallest, at_most=PENALTY_MAX)
        if not isinstance(self.logit_bias, Mapping):
            raise TypeError(
                f"logit_bias is a {type(self.logit_bias).__name__}; pass a dict from "
                "token ids to numbers."
            )
        for token_id, bias in self.logit_bias.items():
            _check_bias(token_id, bias)

    @property
    def changes_logits(self) -> bool:
        """Whether tokens are chosen by other numbers than the model's own."""
        penalties = self.repetition_penalty, self.presence_penalty
        return (*penalties, self.frequency_penalty) != (1, 0, 0) or bool(
            self.logit_bias
        )


def _check_bias(token_id: int | str, bias: float) -> None:
    if not isinstance(token_id, str):
        check_count("A token of logit_bias", token_id)
    if bias != -float("inf"):  # which forbids the token
        name = f"logit_bias of token {token_id}"
        check_number(name, bias, at_least=-FLOAT32_MAX, at_most=FLOAT32_MAX)


def Greedy() -> Sampling:  # noqa: N802
    """The most probable token each time."""
    return Sampling()


def RandomSampling(*, temperature: float = 1.0) -> Sampling:  # noqa: N802
    """Any token, as often as the model expects it."""
    return Sampling(temperature=temperature)


def TopkSampling(*, k: int = 64, temperature: float = 1.0) -> Sampling:  # noqa: N802
    """One of the k most probable tokens."""
    return Sampling(temperature=temperature, top_k=k)


def TopPSampling(*, p: float = 0.95, temperature: float = 1.0) -> Sampling:  # noqa: N802
    """One of the most probable tokens that together have the mass p."""
    return Sampling(temperature=temperature, top_p=p)


def MinP(*, p: float = 0.05, temperature: float = 1.0) -> Sampling:  # noqa: N802
    """One of the tokens that are at least p times as probable as the best."""
    return Sampling(temperature=temperature, min_p=p)
