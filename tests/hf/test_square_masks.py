"""Masks with an entry for each pair of tokens, and `cache=` beside past_key_values.

Numbers are compared with those of transformers in tests/parity.
"""

import jax
import numpy as np
import pytest
from tolerances import assert_close

from gemma import hf

IDS = np.array([[2, 31, 77, 9, 140, 12], [2, 55, 8, 90, 14, 7]])
CAUSAL = np.tril(np.ones((2, 1, 6, 6), bool))


@pytest.fixture(scope="module")
def lm(tiny_folder):
    return hf.AutoModelForCausalLM.from_pretrained(
        tiny_folder("gemma3_mqa"), dtype="float32"
    )


@pytest.mark.slow
def test_a_causal_mask_changes_nothing(tiny_folder):
    lm = hf.AutoModelForCausalLM.from_pretrained(
        tiny_folder("gemma1_mqa"), dtype="float32"
    )
    expected = lm(IDS, use_cache=False).logits
    added = np.where(CAUSAL, 0, -np.inf).astype(np.float32)
    for mask in (CAUSAL, CAUSAL[:1], added):
        assert_close(lm(IDS, attention_mask=mask).logits, expected, law="cached")
    compiled = jax.jit(lambda ids, mask: lm(ids, attention_mask=mask).logits)
    assert_close(compiled(IDS, added), expected, law="cached")


REFUSED = {
    "shape": (CAUSAL[..., :3], ValueError, r"with four axes it is \[2, 1, 6, 6\]"),
    "heads": (CAUSAL.repeat(4, 1), ValueError, r"with four axes it is \[2, 1, 6, 6\]"),
    "numbers": (CAUSAL.astype(int), TypeError, "bool is needed"),
    "biases": (CAUSAL * -0.5, ValueError, "no biases"),
    "ones": (CAUSAL * 1.0, ValueError, "no biases"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, lm):
    mask, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        lm(IDS, attention_mask=mask)


def test_a_mask_of_pairs_goes_over_whole_sequences(lm):
    with pytest.raises(ValueError, match="four axes goes over whole sequences"):
        lm(IDS, attention_mask=CAUSAL, use_cache=True)
    with pytest.raises(ValueError, match="four axes goes over whole sequences"):
        lm(IDS, attention_mask=CAUSAL, past_key_values=lm.init_cache(2, 8))
    with pytest.raises(ValueError, match="attention_mask has shape"):
        lm.generate(IDS, attention_mask=CAUSAL)


def test_cache_is_past_key_values(lm):
    found = lm(IDS[:, :4])
    again = lm(IDS[:, :4])
    expected = lm(IDS[:, 4:], past_key_values=found.past_key_values).logits
    new = lm(IDS[:, 4:], cache=again.past_key_values).logits
    np.testing.assert_array_equal(new, expected)
    with pytest.raises(ValueError, match="one of cache and past_key_values"):
        lm(
            IDS[:, 4:],
            cache=again.past_key_values,
            past_key_values=found.past_key_values,
        )
