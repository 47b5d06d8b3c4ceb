"""Log-probabilities are the model's, whatever is forbidden or demanded."""

import json

import numpy as np
import pytest

from gemma.gm.text.constraints import Constraint

PROMPT = "The rain"


def table_of(generation, step: int = 0) -> np.ndarray:
    """Returns the log-probabilities of all tokens, by id."""
    return np.array([value for _, value in sorted(generation.logprobs[step].top)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"forbidden_tokens": list(range(5, 300))},
        {"constraint": Constraint.choice(["yes", "no"])},
        {"constraint": Constraint.regex("[0-9]{2}")},
        {"schema": {"type": "boolean"}, "forbidden_tokens": [7, 8]},
    ],
)
def test_logprobs_are_the_models_own(tiny_sampler, options):
    sampler = tiny_sampler("gemma3_mqa")
    free = sampler.generate(PROMPT, max_new_tokens=1, num_logprobs=480)
    bound = sampler.generate(PROMPT, num_logprobs=480, max_new_tokens=8, **options)
    np.testing.assert_allclose(table_of(bound), table_of(free), atol=1e-4)
    assert bound.logprobs[0].chosen == pytest.approx(
        table_of(free)[bound.token_ids[0]], abs=1e-4
    )
    for entry in bound.logprobs:
        values = [entry.chosen, *(value for _, value in entry.top)]
        assert json.loads(json.dumps(values, allow_nan=False)) == values
        assert np.exp([value for _, value in entry.top]).sum() == pytest.approx(
            1, abs=1e-4
        )
