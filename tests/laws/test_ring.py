"""Ring = full: a cache of one window says what a cache of everything says."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from tolerances import assert_close

from gemma.gm.nn import AttentionType, Transformer, TransformerConfig, gemma3_config


def local_config(window: int) -> TransformerConfig:
    return gemma3_config(
        num_layers=2, embed_dim=16, hidden_dim=24, num_heads=4, num_kv_heads=2,
        head_dim=8, window=window, vocab_size=480,
        attention_types=(AttentionType.LOCAL,) * 2,
    )  # fmt: skip


def full_cache(model: Transformer, cache_length: int) -> dict:
    """Returns a cache in which no layer is a ring."""
    layers = tuple(
        dataclasses.replace(layer, window=cache_length) for layer in model.config.layers
    )
    model = Transformer(dataclasses.replace(model.config, layers=layers))
    return model.init_cache(batch_size=2, cache_length=cache_length)


def feed(tiny, cache: dict, tokens: jax.Array, width: int) -> jax.Array:
    """Returns the logits of tokens that go in by `width`."""
    logits = []
    for begin in range(0, tokens.shape[1], width):
        out = tiny.apply(tokens[:, begin : begin + width], cache=cache)
        cache = out.cache
        logits.append(out.logits)
    return jnp.concatenate(logits, axis=1)


# Over several turns of the ring. A chunk of 13 goes around a ring of 4 in one call;
# attention reads a cache of 300 slots in two blocks, the second of them not whole.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("window", "width", "length"),
    [(1, 1, 26), (1, 13, 26), (4, 1, 26), (4, 13, 26), (300, 130, 780)],
)
def test_ring_equals_full_cache(window, width, length, tiny_of, random_tokens):
    tiny, tokens = tiny_of(local_config(window)), random_tokens((2, length))
    ring = tiny.model.init_cache(batch_size=2, cache_length=length + 4)
    assert ring["layer_0"]["k"].shape[2] == window
    ring_logits = feed(tiny, ring, tokens, width)
    full_logits = feed(tiny, full_cache(tiny.model, length + 4), tokens, width)
    assert_close(ring_logits, full_logits, law="ring")
    assert_close(ring_logits, tiny.apply(tokens).logits, law="ring")


def test_what_left_the_window_is_forgotten(tiny_of, random_tokens):
    """Two layers of window 4 reach 6 tokens back, and no further."""
    tiny, tokens = tiny_of(local_config(4)), random_tokens((2, 26))
    whole = tiny.apply(tokens).logits
    near = tiny.apply(tokens.at[:, -7].set(9)).logits
    far = tiny.apply(tokens.at[:, -8].set(9)).logits
    assert jnp.abs(near[:, -1] - whole[:, -1]).max() > 1e-3
    assert_close(far[:, -1], whole[:, -1], law="ring")
