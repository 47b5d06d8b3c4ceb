"""Tiny checkpoints made by transformers, and what transformers answered.

Written by make_goldens.py; the versions are in goldens/birth.json. Needs no torch.
"""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

from gemma import gm
from gemma.gm.text._decode import Choice, decode_step
from gemma.gm.text._draw import stack
from gemma.gm.text._penalties import start_history
from gemma.gm.text._prefill import feed_chunk, prefill
from gemma.gm.text._sampling import Sampling

GOLDENS = Path(__file__).parent / "goldens"
NAMES = sorted(path.parent.name for path in GOLDENS.glob("*/golden.npz"))
ANSWERS = json.loads((GOLDENS / "embedded_greedy.json").read_bytes())


@pytest.fixture(scope="module", params=NAMES)
def golden(request):
    """A model, its params, and the golden arrays."""
    folder = GOLDENS / request.param
    return *gm.ckpts.load_model(folder), np.load(folder / "golden.npz")


def test_logits_and_insides(golden):
    """Logits, the residual stream after each layer, and where each layer looks."""
    model, params, expected = golden
    out = jax.jit(
        lambda tokens: model.apply(
            {"params": params},
            tokens,
            return_hidden_states=True,
            return_attention_weights=True,
        )
    )(expected["prompt"])
    assert_close(out.logits, expected["logits"], law="parity")
    hidden_states = jnp.stack(out.hidden_states)[:, 0]
    assert_close(hidden_states, expected["hidden_states"], law="parity")
    weights = jnp.stack(out.attention_weights)[:, 0]
    assert_close(weights, expected["attention_weights"], law="parity")


@pytest.mark.slow
def test_greedy_tokens(golden):
    """Prefill in chunks, then one token at a time through ring caches."""
    model, params, expected = golden
    prompt, greedy = expected["prompt"], expected["greedy"]
    batch_size, num_steps = greedy.shape
    cache = model.init_cache(
        batch_size=batch_size, cache_length=prompt.shape[1] + num_steps
    )
    feed = {8: functools.partial(feed_chunk, model)}
    cache = prefill(params, cache, prompt.tolist(), feed=feed)
    sampling = stack([Sampling()] * batch_size, [0] * batch_size)
    shape = (batch_size, model.config.vocab_size)
    allowed = jnp.asarray(gm.math.pack_bits(np.ones(shape, bool)))
    choice = Choice(sampling, allowed, jnp.zeros(shape), None)
    history = start_history(prompt.tolist(), model.config.vocab_size)
    active, last, tokens = jnp.ones(batch_size, bool), prompt[:, -1], []
    for _ in range(num_steps):
        decoded = decode_step(model, params, cache, last, active, choice, history)
        last, cache, history = decoded.last, decoded.cache, decoded.history
        tokens.append(last)
    np.testing.assert_array_equal(jnp.stack(tokens, axis=1), greedy)


def test_goldens_cover_every_family():
    families = {gm.ckpts.load_config(GOLDENS / name).family for name in NAMES}
    assert families == {"gemma", "gemma2", "gemma3"}


@pytest.mark.embedded
def test_embedded_model_names_the_capital_of_france(embedded_sampler):
    text = embedded_sampler.sample("The capital of France is", max_new_tokens=15)
    # The next token is " and", by 0.012 in log-probability before "."; arithmetic in
    # bfloat16 or with quantized activations may choose the other.
    assert (
        text
        == " the capital of the country of France. It is the largest city in France"
    )


@pytest.mark.embedded
@pytest.mark.slow
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer["prompt"])
def test_embedded_greedy_tokens(answer, embedded_sampler):
    """The tokens of transformers, which dequantizes the same file by itself."""
    generation = embedded_sampler.generate(
        answer["prompt"], max_new_tokens=answer["num_sure"]
    )
    assert list(generation.prompt_ids) == answer["prompt_ids"]
    # Transformers was made to go on after the end of a text.
    expected = answer["greedy"][: len(generation.token_ids)]
    assert list(generation.token_ids) == expected
    if generation.finish_reason == "length":
        assert len(generation.token_ids) == answer["num_sure"]
