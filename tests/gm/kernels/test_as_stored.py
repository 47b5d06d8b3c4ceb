"""Weights that stay packed as in the file: the same model, in a third of the memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma import gm
from gemma.gm.weights import QuantizedArray, flatten

pytestmark = [
    pytest.mark.embedded,
    pytest.mark.slow,
    pytest.mark.skipif(
        not gm.kernels.available(), reason="the kernels were not built: no C++ compiler"
    ),
]


@pytest.fixture(scope="module")
def packed(embedded_path):
    return gm.ckpts.load_model(embedded_path, dtype=gm.ckpts.AS_STORED)


def test_values_are_those_of_float32(packed, embedded_sampler):
    """Every weight but the embedding, whose rows stand for it."""
    _, params = packed
    plain = flatten(embedded_sampler.params)
    for path, weight in flatten(params).items():
        if path == "embedder/input_embedding":
            ids = jnp.arange(0, 262_144, 1000)
            actual, expected = gm.weights.take(weight, ids), plain[path][ids]
        elif isinstance(weight, QuantizedArray):
            actual, expected = weight.dequantize(), plain[path]
        else:
            actual, expected = weight, plain[path]
        np.testing.assert_array_equal(actual, expected)


def test_memory_is_that_of_the_file(packed, embedded_path):
    """Within a tenth: nothing is unpacked, nothing is held twice."""
    num_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(packed[1]))
    assert num_bytes < 1.1 * embedded_path.stat().st_size


def test_answers_agree_with_float32(packed, embedded_sampler):
    """The next token of 64 contexts; activations of 8 bits may turn a near tie."""
    model, params = packed
    text = "It was the best of times, it was the worst of times, " * 6
    ids = jnp.array([embedded_sampler.tokenizer.encode(text, add_bos=True)[:64]])
    apply = jax.jit(lambda p: model.apply({"params": p}, ids).logits[0])
    ours, theirs = apply(params), apply(embedded_sampler.params)
    assert (ours.argmax(-1) == theirs.argmax(-1)).mean() > 0.95
    probs = jax.nn.softmax(theirs)
    divergence = (probs * (jax.nn.log_softmax(theirs) - jax.nn.log_softmax(ours))).sum(
        -1
    )
    assert float(divergence.mean()) < 0.005


def test_batched_equals_single_bit_for_bit(packed, embedded_sampler):
    sampler = gm.text.Sampler(
        model=packed[0],
        params=packed[1],
        tokenizer=embedded_sampler.tokenizer,
        cache_length=256,
    )
    prompts = ["The capital of France is", "Once upon a time", "1, 2, 3,"]
    options = {"max_new_tokens": 12, "num_logprobs": 0}
    together = sampler.generate(prompts, **options)
    for prompt, answer in zip(prompts, together, strict=True):
        assert sampler.generate(prompt, **options).token_ids == answer.token_ids


def test_save_writes_the_values(packed, tmp_path):
    model, params = packed
    gm.ckpts.save_model(tmp_path / "out", model, params, dtype=jnp.float32)
    _, loaded = gm.ckpts.load_model(tmp_path / "out", dtype=jnp.float32)
    down = flatten(params)["layer_3/mlp/down"]
    np.testing.assert_array_equal(
        flatten(loaded)["layer_3/mlp/down"], down.dequantize()
    )
