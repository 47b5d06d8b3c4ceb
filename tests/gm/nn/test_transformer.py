"""The decoder's own promises, beyond the laws."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

from gemma.gm.nn import Transformer
from gemma.gm.weights import flatten


@pytest.mark.slow
def test_future_has_no_influence(tiny, random_tokens):
    """Logits stay as they are when what follows changes."""
    tokens = random_tokens((2, 11))
    changed = tokens.at[:, 8:].set(9)
    first, second = tiny.apply(tokens).logits, tiny.apply(changed).logits
    assert_close(first[:, :8], second[:, :8], law="identical")
    assert jnp.abs(first[:, 8:] - second[:, 8:]).max() > 1e-2


@pytest.mark.slow
def test_every_weight_matters(tiny, random_tokens):
    """A weight that could be left out would hide a wrong name table."""
    tokens = random_tokens((2, 11))
    model = tiny.model

    @jax.jit
    def sensitivity(params):
        return jax.grad(lambda p: jnp.var(model.apply({"params": p}, tokens).logits))(
            params
        )

    for path, gradient in flatten(sensitivity(tiny.params)).items():
        assert jnp.abs(gradient).max() > 1e-7, path


@pytest.mark.slow
def test_insides_fit_together(tiny, random_tokens):
    """Hidden states end in the input of the head; weights are a distribution each."""
    tokens = random_tokens((2, 11))
    out = tiny.apply(tokens, return_hidden_states=True, return_attention_weights=True)
    config, table = tiny.model.config, tiny.params["embedder"]["input_embedding"]
    assert len(out.hidden_states) == config.num_layers + 1
    scaled = table[tokens] * np.float32(np.sqrt(config.embed_dim))
    assert_close(out.hidden_states[0], scaled, law="formula")
    logits = out.hidden_states[-1] @ table.T
    if config.final_softcap:
        logits = config.final_softcap * jnp.tanh(logits / config.final_softcap)
    assert_close(out.logits, logits, law="batched")
    for layer, weights in zip(config.layers, out.attention_weights, strict=True):
        assert weights.shape == (2, layer.num_heads, 11, 11)
        assert_close(weights.sum(axis=-1), np.ones(weights.shape[:3]), law="formula")
        seen = (np.asarray(weights) > 0).sum(axis=-1).max()
        assert seen == (min(11, layer.window) if layer.is_local else 11)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gemma2_gqa", "gemma3_gqa_stretched"])
def test_asking_for_weights_changes_nothing_else(name, tiny_model, random_tokens):
    """With a cache, weights are computed in another way: all keys in one piece."""
    tiny, tokens = tiny_model(name), random_tokens((2, 11))
    cache = tiny.model.init_cache(batch_size=2, cache_length=24)
    cache = tiny.apply(tokens[:, :7], cache=cache).cache
    plain = tiny.apply(tokens[:, 7:], cache=cache)
    asked = tiny.apply(tokens[:, 7:], cache=cache, return_attention_weights=True)
    assert_close(asked.logits, plain.logits, law="cached")
    for name, layer in plain.cache.items():
        if name != "end":
            assert_close(asked.cache[name]["k"], layer["k"], law="cached")
    whole = tiny.apply(tokens, return_attention_weights=True)
    for i, layer in enumerate(tiny.model.config.layers):
        if not layer.is_local:  # its slots are in the order of positions
            found = asked.attention_weights[i]
            assert found.shape[-1] == 24 + 4
            found = jnp.concatenate([found[..., :7], found[..., 24:]], axis=-1)
            assert_close(found, whole.attention_weights[i][:, :, 7:], law="cached")


def test_embedding_is_scaled_by_a_rounded_root(tiny_model):
    """In bfloat16 the root of 24 is 4.90625: checkpoints were trained with that."""
    tiny = tiny_model("gemma1_mha_wide")
    params = jax.tree.map(lambda w: w.astype(jnp.bfloat16), tiny.params)
    model = dataclasses.replace(tiny.model, dtype=jnp.float32)
    narrow = dataclasses.replace(tiny, model=model, params=params)
    out = narrow.apply(jnp.array([[9]]), return_hidden_states=True)
    row = params["embedder"]["input_embedding"][9].astype(jnp.float32)
    expected = row * jnp.float32(4.90625)
    assert jnp.bfloat16(np.sqrt(24)) == 4.90625
    assert_close(out.hidden_states[0][0, 0], expected, law="identical")
    assert out.logits.dtype == jnp.float32


def test_dtype_of_activations_can_be_chosen(tiny_model):
    """Weights in bfloat16, arithmetic in float32: only the weights are rounded."""
    tiny = tiny_model("gemma1_mqa")
    narrow = jax.tree.map(lambda w: w.astype(jnp.bfloat16), tiny.params)
    wide = jax.tree.map(lambda w: w.astype(jnp.float32), narrow)
    model = dataclasses.replace(tiny.model, dtype=jnp.float32)
    assert model.activation_dtype(narrow) == jnp.float32
    tokens = jnp.array([[9, 10, 11]])
    mixed = dataclasses.replace(tiny, model=model, params=narrow).apply(
        tokens, return_hidden_states=True
    )
    plain = dataclasses.replace(tiny, params=wide).apply(tokens)
    assert mixed.hidden_states[-1].dtype == jnp.float32
    # The embedding's scale is rounded to the table's dtype in one and not the other.
    np.testing.assert_allclose(mixed.logits, plain.logits, atol=0.1)


def test_stated_positions_are_used(tiny_model):
    """Rotation is relative: moved as a whole, a sequence stays what it is."""
    tiny, tokens = tiny_model("gemma3_mqa"), jnp.array([[9, 10, 11, 12]])
    place = jnp.arange(4, dtype=jnp.int32)[None]
    default = tiny.apply(tokens).logits
    for moved in (place, place + 9):
        logits = tiny.apply(tokens, positions=moved).logits
        assert_close(logits, default, law="positions")
    spread = tiny.apply(tokens, positions=2 * place).logits
    assert jnp.abs(spread - default).max() > 1e-3


def test_models_are_values(tiny):
    """Equal models share compiled programs, wherever their weights came from."""
    same = dataclasses.replace(tiny.model, checkpoint=Path("elsewhere"))
    assert same == tiny.model
    assert hash(same) == hash(tiny.model)
    assert Transformer(tiny.model.config, dtype=jnp.bfloat16) != tiny.model
