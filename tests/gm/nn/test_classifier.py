"""Classifiers: the decoder's features, a linear map, and whose features they are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma.gm import losses
from gemma.gm.nn import SequenceClassifier, TokenClassifier
from gemma.gm.weights import flatten


@functools.partial(jax.jit, static_argnums=0)
def apply(classifier, *given, **options):
    return classifier.apply(*given, **options)


def make(kind, tiny, num_labels=3):
    """Returns a classifier of a tiny model, and params with a score that shows."""
    classifier = kind(tiny.model, num_labels)
    params = dict(tiny.params) | {"score": classifier.init(jax.random.key(1))["score"]}
    params["score"] = jax.tree.map(
        lambda w: jax.random.normal(jax.random.key(2), w.shape), params["score"]
    )
    return classifier, params


@pytest.mark.parametrize("kind", [TokenClassifier, SequenceClassifier])
def test_params_are_those_of_the_specs(kind, tiny_model):
    classifier = kind(tiny_model("gemma3_mqa").model, 5)
    params = flatten(classifier.init(jax.random.key(0)))
    specs = flatten(classifier.specs())
    assert {k: w.shape for k, w in params.items()} == {
        k: spec.shape for k, spec in specs.items()
    }


def test_tokens_are_scored_one_by_one(tiny_model, random_tokens):
    tiny = tiny_model("gemma2_gqa")
    classifier, params = make(TokenClassifier, tiny)
    tokens = random_tokens((2, 6))
    found = apply(classifier, {"params": params}, tokens).logits
    x = tiny.model.features({"params": params}, tokens).x
    score = params["score"]
    expected = np.asarray(x) @ np.asarray(score["weight"]).T + np.asarray(score["bias"])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_text_is_scored_at_its_last_token(side, tiny_model, random_tokens):
    """Padding on either side changes nothing."""
    classifier, params = make(SequenceClassifier, tiny_model("gemma3_mqa"))
    tokens = random_tokens((2, 5))
    alone = apply(classifier, {"params": params}, tokens).logits
    room = (3, 0) if side == "left" else (0, 3)
    padded = jnp.pad(tokens, ((0, 0), room))
    mask = jnp.pad(jnp.ones((2, 5), bool), ((0, 0), room))
    found = apply(classifier, {"params": params}, padded, mask=mask).logits
    np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-5)


def test_any_token_may_be_the_last(tiny_model, random_tokens):
    """What comes after it is not seen."""
    classifier, params = make(SequenceClassifier, tiny_model("gemma1_mqa"))
    tokens, last = random_tokens((2, 6)), jnp.array([2, 4])
    found = apply(classifier, {"params": params}, tokens, last=last).logits
    for row, end in enumerate([3, 5]):
        cut = apply(classifier, {"params": params}, tokens[row : row + 1, :end]).logits
        np.testing.assert_allclose(found[row], cut[0], rtol=1e-5, atol=1e-5)


def test_a_row_of_padding_is_finite(tiny_model, random_tokens):
    classifier, params = make(SequenceClassifier, tiny_model("gemma1_mqa"))
    mask = jnp.zeros((1, 4), bool)
    tokens = random_tokens((1, 4))
    assert np.isfinite(
        apply(classifier, {"params": params}, tokens, mask=mask).logits
    ).all()


@pytest.mark.slow
def test_a_step_down_the_gradient_helps(tiny_model, random_tokens):
    classifier, params = make(SequenceClassifier, tiny_model("gemma3_mqa"))
    tokens, labels = random_tokens((4, 6)), jnp.array([0, 1, 2, 1])

    @jax.jit
    def loss(params):
        logits = classifier.apply({"params": params}, tokens).logits
        return losses.cross_entropy(logits, labels)

    gradient = jax.grad(loss)(params)
    stepped = jax.tree.map(lambda w, g: w - 1e-3 * g, params, gradient)
    assert loss(stepped) < loss(params)
    assert all(jnp.any(g) for g in jax.tree.leaves(gradient["score"]))
