"""Calls of the model in the forms of DeepMind's library."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma import gm
from gemma.gm.nn._batches import with_one_axis_of_rows

NAME = "gemma3_gqa_stretched"


def assert_close(actual, expected):
    """Programs of other shapes sum in another order."""
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def tiny(tiny_model):
    return tiny_model(NAME)


def apply(tiny, tokens, **options):
    return tiny.model.apply({"params": tiny.params}, tokens, **options)


@pytest.mark.parametrize("shape", [(7,), (1, 7), (2, 7), (2, 3, 7), (1, 2, 1, 7)])
def test_any_leading_axes(tiny, random_tokens, shape):
    tokens = random_tokens(shape)
    rows = tokens.reshape(-1, 7)
    options = {"return_hidden_states": True}
    found, expected = apply(tiny, tokens, **options), apply(tiny, rows, **options)
    assert found.logits.shape == (*shape, tiny.model.config.vocab_size)
    np.testing.assert_array_equal(found.logits.reshape(-1, 7, 496), expected.logits)
    assert found.hidden_states[1].shape == (*shape, 24)
    named = {"tokens": tokens, "return_last_only": True}
    last = tiny.model.apply({"params": tiny.params}, **named).logits
    assert last.shape == (*shape[:-1], 496)
    assert_close(last.reshape(-1, 496), expected.logits[:, -1])


def test_options_by_token_have_the_axes_of_the_tokens(tiny, random_tokens):
    tokens = random_tokens((2, 3, 5))
    lengths = np.array([[3, 5, 2], [4, 1, 5]])
    mask = jnp.asarray(np.arange(5) < lengths[:, :, None])
    positions = jnp.broadcast_to(jnp.arange(5), (2, 3, 5))
    found = apply(tiny, tokens, mask=mask, positions=positions).logits
    expected = apply(
        tiny,
        tokens.reshape(6, 5),
        mask=mask.reshape(6, 5),
        positions=positions.reshape(6, 5),
    )
    np.testing.assert_array_equal(found.reshape(6, 5, -1), expected.logits)
    with pytest.raises(
        ValueError, match=r"mask has shape \(2, 5\), which does not beg"
    ):
        apply(tiny, tokens, mask=mask[:, 0])


@pytest.mark.slow
def test_a_cache_has_one_axis_of_rows(tiny, random_tokens):
    tokens = random_tokens((2, 2, 6))
    cache = tiny.model.init_cache(batch_size=4, cache_length=12)
    begun = apply(tiny, tokens[..., :4], cache=cache)
    found = apply(tiny, tokens[..., 4:], cache=begun.cache)
    assert_close(found.logits, apply(tiny, tokens).logits[..., 4:, :])
    assert begun.cache["end"].shape == (4,)


@pytest.mark.slow
def test_the_last_token_that_is_no_padding(tiny, random_tokens):
    tokens = random_tokens((2, 6)).at[0, 4:].set(0)
    found = apply(tiny, tokens, return_last_only=True).logits
    assert_close(found[0], apply(tiny, tokens[0, :4]).logits[-1])
    assert_close(found[1], apply(tiny, tokens[1]).logits[-1])
    mask = jnp.arange(6)[None] < jnp.array([[3], [5]])
    found = apply(tiny, tokens, return_last_only=True, mask=mask).logits
    assert_close(found[0], apply(tiny, tokens[0, :3]).logits[-1])


def causal(valid):
    length = valid.shape[-1]
    before = np.tri(length, dtype=bool)
    return jnp.asarray(before & np.asarray(valid)[..., None, :])


@pytest.mark.parametrize("lead", [(), (2,), (2, 2)])
def test_attention_masks_that_are_causal(tiny, random_tokens, lead):
    tokens = random_tokens((*lead, 6))
    valid = jnp.ones((*lead, 6), bool).at[..., 1].set(False)
    expected = apply(tiny, tokens, mask=valid).logits
    for mask in (valid, causal(valid), causal(valid).astype(jnp.int32)):
        found = apply(tiny, tokens, attention_mask=mask).logits
        np.testing.assert_array_equal(found, expected)


def test_attention_masks_that_are_not(tiny, random_tokens):
    tokens = random_tokens((2, 6))
    mask = causal(jnp.ones([2, 6], bool))
    with pytest.raises(
        ValueError, match=r"is not causal: .* Pass mask=, False for pad"
    ):
        apply(tiny, tokens, attention_mask=mask.at[0, 1, 3].set(True))
    with pytest.raises(ValueError, match="is not causal"):
        apply(tiny, tokens, attention_mask=mask.at[1, 4, 2].set(False))
    with pytest.raises(
        ValueError, match=r"shape \(2, 5\) for tokens of shape \(2, 6\)"
    ):
        apply(tiny, tokens, attention_mask=mask[:, 0, :5])
    with pytest.raises(ValueError, match="Pass mask or attention_mask, not both"):
        apply(tiny, tokens, attention_mask=mask, mask=mask[:, 0])
    cache = tiny.model.init_cache(batch_size=2, cache_length=6)
    with pytest.raises(ValueError, match=r"True for tokens .*; or, without a cache"):
        apply(tiny, tokens, attention_mask=mask, cache=cache)


def test_attention_masks_under_jit(tiny, random_tokens):
    tokens = random_tokens((1, 6))
    valid = jnp.ones([1, 6], bool)

    @jax.jit
    def run(mask):
        return apply(tiny, tokens, attention_mask=mask).logits

    assert_close(run(valid), apply(tiny, tokens).logits)
    with pytest.raises(ValueError, match=r"Under jax\.jit nothing tells .* Pass mask="):
        run(causal(valid))


def test_tokens_that_are_none():
    with pytest.raises(ValueError, match="tokens are a single number"):
        with_one_axis_of_rows(jnp.int32(3), {})
    with pytest.raises(TypeError, match=r"tokens are float32; token ids are integers"):
        with_one_axis_of_rows(jnp.ones([1, 2]), {})
    tokens, _, lead = with_one_axis_of_rows([2, 3, 4], {})
    assert (tokens.shape, lead) == ((1, 3), ())


@pytest.mark.parametrize("name", gm.nn.CATALOG)
def test_configs_stand_beside_the_models(name):
    make = getattr(gm.nn, name)
    assert make.config == gm.nn.CATALOG[name] == make().config
    assert make.__name__ == name
    if make.config.vision is not None:
        text = dataclasses.replace(make.config, vision=None)
        assert make(text_only=True).config == text
