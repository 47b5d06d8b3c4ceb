"""How tokens are drawn: what people ask for, by the names they know."""

import dataclasses
import math
from collections.abc import Mapping


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
      logit_bias: Added to the logits of some tokens, by id.

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
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(
                f"temperature is {self.temperature}; it must be a number of 0 or more."
            )
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k is {self.top_k}; it must be 1 or more, or None.")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; it must lie in (0, 1].")
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p is {self.min_p}; it must lie in [0, 1].")
        self._check_penalties()

    def _check_penalties(self) -> None:
        penalty = self.repetition_penalty
        if not (math.isfinite(penalty) and penalty > 0):
            raise ValueError(f"repetition_penalty is {penalty}; it must be above 0.")
        for name in ("presence_penalty", "frequency_penalty"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}, not a number.")
        for token_id, bias in self.logit_bias.items():
            if math.isnan(bias) or bias == math.inf:
                raise ValueError(
                    f"logit_bias of token {token_id} is {bias}; it must be a number, "
                    "or -inf to forbid the token."
                )

    @property
    def changes_logits(self) -> bool:
        """Whether tokens are chosen by other numbers than the model's own."""
        penalties = self.repetition_penalty, self.presence_penalty
        return (*penalties, self.frequency_penalty) != (1, 0, 0) or bool(
            self.logit_bias
        )


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
