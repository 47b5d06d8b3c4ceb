"""What ends answers, as users of transformers write it.

Each is called with the ids so far, [B, L], and the scores of each step, and returns a
truth value for all rows, or one a row.
"""

import time
from typing import Any

import numpy as np

from gemma.gm._numbers import check_count, check_number


class StoppingCriteria:
    """What users derive theirs from; any function of ids and scores will do too."""

    def __call__(self, input_ids: Any, scores: Any, **options: Any) -> Any:
        """Returns whether rows end, one truth value or one a row.

        Args:
          input_ids: The ids so far, [B, L], prompts included.
          scores: The scores of each step if `output_scores` is set; else None.
          **options: None so far.
        """
        raise NotImplementedError


class StoppingCriteriaList(list):
    """Several; a row ends if one of them says so."""

    def __call__(self, input_ids: Any, scores: Any, **options: Any) -> Any:
        """Returns whether rows end."""
        found = np.zeros(len(input_ids), bool)
        for criterion in self:
            found = found | np.asarray(criterion(input_ids, scores, **options))
        return found


class MaxTimeCriteria(StoppingCriteria):
    """Ends all rows after some time."""

    def __init__(self, max_time: float, initial_timestamp: float | None = None):
        """Starts to count.

        Args:
          max_time: Seconds.
          initial_timestamp: When they began, as `time.time` has it; by default now.
        """
        self.max_time = check_number(
            "max_time", max_time, at_least=0, may_be_infinite=True
        )
        begin = time.time() if initial_timestamp is None else initial_timestamp
        self.initial_timestamp = begin

    def __call__(self, input_ids: Any, scores: Any, **options: Any) -> Any:
        """Returns whether the time is over, for each row."""
        is_over = time.time() - self.initial_timestamp > self.max_time
        return np.full(len(input_ids), is_over)


class MaxLengthCriteria(StoppingCriteria):
    """Ends all rows at a length."""

    def __init__(self, max_length: int, max_position_embeddings: int | None = None):
        """Takes the length.

        Args:
          max_length: Tokens, those of the prompt counted.
          max_position_embeddings: Not looked at: caches are as long as they need to be.
        """
        self.max_length = check_count("max_length", max_length, at_least=1)

    def __call__(self, input_ids: Any, scores: Any, **options: Any) -> Any:
        """Returns whether the length is reached, for each row."""
        return np.full(len(input_ids), input_ids.shape[1] >= self.max_length)
