"""`position_ids` that begin anew: several documents in a row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

from gemma import hf

FIRST, SECOND = np.array([[2, 31, 77]]), np.array([[2, 55, 8, 90, 14]])
IDS = np.concatenate([FIRST, SECOND], axis=1)
PACKED = np.array([[0, 1, 2, 0, 1, 2, 3, 4]])


@pytest.fixture(params=["gemma1_mqa", "gemma2_gqa", "gemma3_mqa"])
def lm(request, tiny_folder):
    return hf.AutoModelForCausalLM.from_pretrained(
        tiny_folder(request.param), dtype="float32"
    )


def alone(lm):
    parts = [lm(ids, use_cache=False).logits for ids in (FIRST, SECOND)]
    return jnp.concatenate(parts, axis=1)


def test_documents_do_not_see_one_another(lm):
    found = lm(IDS, position_ids=PACKED, use_cache=False).logits
    assert_close(found, alone(lm), law="cached")


def test_documents_under_jit(lm):
    compiled = jax.jit(lambda ids, places: lm(ids, position_ids=places).logits)
    assert_close(compiled(IDS, PACKED), alone(lm), law="cached")


def test_a_token_changes_nothing_before_it(lm):
    other = IDS.copy()
    other[0, 5] = 60
    found = [lm(i, position_ids=PACKED, use_cache=False).logits for i in (IDS, other)]
    assert_close(found[0][:, :5], found[1][:, :5], law="cached")


@pytest.mark.parametrize("use_cache", [None, True])
def test_documents_with_a_cache_are_refused(use_cache, lm):
    with pytest.raises(
        ValueError, match=r"pass use_cache=False and no past_key_values"
    ):
        lm(IDS, position_ids=PACKED, use_cache=use_cache)


@pytest.mark.parametrize(
    ("positions", "error", "message"),
    [
        (PACKED / 2, TypeError, "position_ids have dtype float32; whole numbers"),
        (PACKED[:, :5], ValueError, r"shape \(1, 5\) for 1 rows of 8 tokens"),
    ],
)
def test_positions_that_are_none(positions, error, message, lm):
    with pytest.raises(error, match=message):
        lm(IDS, position_ids=positions, use_cache=False)
