"""What logits are worth on a text. Every contestant is judged by these lines.

They need numpy only, which the environments of the peers have too, and compute in
float64: sums over a vocabulary of 262,144 in float32 would blur small differences.

Axes: R rows (positions), V vocabulary.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

WINDOW_LENGTH = 1024


def counted_positions(window_length: int = WINDOW_LENGTH) -> range:
    """Returns the positions of a window whose next token counts.

    As in llama.cpp's perplexity tool: those of the second half, where each prediction
    has half a window of context at least. What follows the last token is not known.
    """
    return range(window_length // 2, window_length - 1)


@dataclasses.dataclass(frozen=True, slots=True)
class Scores:
    """What one contestant did, prediction by prediction.

    Attributes:
      losses: Negative log likelihood of the token that followed, in nats.
      choices: The likeliest token.
      divergences: Kullback-Leibler divergence of the distribution from that of the
        reference, in nats; empty where the two were never side by side.
    """

    losses: list[float] = dataclasses.field(default_factory=list)
    choices: list[int] = dataclasses.field(default_factory=list)
    divergences: list[float] = dataclasses.field(default_factory=list)

    def add(
        self,
        logits_RV: np.ndarray,
        next_ids: Sequence[int],
        reference_RV: np.ndarray | None = None,
    ) -> None:
        """Scores the predictions of some positions.

        Args:
          logits_RV: What the contestant says of each position.
          next_ids: The token that followed each.
          reference_RV: The reference's logits of the same positions.
        """
        # Row by row: a row in float64 stays in the cache of a core.
        for i, next_id in enumerate(next_ids):
            log_probs_V = _log_softmax(logits_RV[i])
            self.losses.append(-float(log_probs_V[next_id]))
            self.choices.append(int(log_probs_V.argmax()))
            if reference_RV is not None:
                expected_V = _log_softmax(reference_RV[i])
                gap = np.exp(expected_V) @ (expected_V - log_probs_V)
                self.divergences.append(float(gap))

    @property
    def perplexity(self) -> float:
        """The exponential of the mean loss."""
        return math.exp(np.mean(self.losses))

    @property
    def divergence(self) -> float | None:
        """The mean divergence from the reference, if it was measured."""
        return float(np.mean(self.divergences)) if self.divergences else None

    def ratio_to(self, other: "Scores") -> tuple[float, float]:
        """Returns this perplexity over another, and the ratio's standard error."""
        gaps = np.subtract(self.losses, other.losses)
        ratio = math.exp(gaps.mean())
        return ratio, ratio * float(gaps.std(ddof=1)) / math.sqrt(len(gaps))

    def agreement_with(self, other: "Scores") -> float:
        """Returns the share of positions where both find the same token likeliest."""
        return float(np.mean(np.equal(self.choices, other.choices)))


def _log_softmax(logits_V: np.ndarray) -> np.ndarray:
    shifted_V = logits_V.astype(np.float64)
    shifted_V -= shifted_V.max()
    return shifted_V - np.log(np.exp(shifted_V).sum())
