"""Classifiers on disk."""

import jax
import jax.numpy as jnp
import pytest
from tolerances import assert_close

from gemma.gm.ckpts import (
    CheckpointError,
    load_classifier,
    load_model,
    open_checkpoint,
    save_model,
)
from gemma.gm.nn import SequenceClassifier, TokenClassifier
from gemma.gm.weights import flatten

KINDS = [SequenceClassifier, TokenClassifier]


def make(kind, tiny, num_labels=3):
    """Returns a classifier, and params whose score and bias show."""
    classifier = kind(tiny.model, num_labels)
    score = {
        name: jax.random.normal(jax.random.key(4), spec.shape)
        for name, spec in classifier.score_specs().items()
    }
    return classifier, {**tiny.params, "score": score}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["gemma1_mqa", "gemma3_mqa"])
def test_saved_and_loaded_is_identity(kind, name, tiny_model, tmp_path):
    classifier, params = make(kind, tiny_model(name))
    save_model(tmp_path / "c", classifier, params)
    again, loaded = load_classifier(tmp_path / "c", kind, dtype=jnp.float32)
    assert again == classifier
    for path, weight in flatten(params).items():
        assert_close(flatten(loaded)[path], weight, law="identical")


def test_decoder_of_a_classifier_loads_alone(tiny_model, tmp_path):
    tiny = tiny_model("gemma2_gqa")
    save_model(tmp_path / "c", *make(SequenceClassifier, tiny))
    model, params = load_model(tmp_path / "c", dtype=jnp.float32)
    assert model == tiny.model
    assert "score" not in params
    assert open_checkpoint(tmp_path / "c").num_labels == 3


def test_model_becomes_a_classifier_with_small_random_scores(tiny_model, tmp_path):
    tiny = tiny_model("gemma1_mqa")
    save_model(tmp_path / "m", tiny.model, tiny.params)
    with pytest.raises(ValueError, match=r"no classifier yet: pass num_labels"):
        load_classifier(tmp_path / "m")
    _, params = load_classifier(tmp_path / "m", TokenClassifier, num_labels=50)
    assert 0.015 < float(params["score"]["weight"].std()) < 0.025
    assert not params["score"]["bias"].any()
    other = load_classifier(tmp_path / "m", num_labels=50, key=jax.random.key(9))[1]
    assert not jnp.array_equal(other["score"]["weight"], params["score"]["weight"])


def test_classifier_of_another_kind_is_refused(tiny_model, tmp_path):
    save_model(tmp_path / "c", *make(TokenClassifier, tiny_model("gemma1_mqa")))
    with pytest.raises(
        CheckpointError, match=r"holds tensor 'score\.bias': it is no Seq"
    ):
        load_classifier(tmp_path / "c")


def test_other_number_of_labels_is_refused(tiny_model, tmp_path):
    save_model(tmp_path / "c", *make(SequenceClassifier, tiny_model("gemma1_mqa")))
    with pytest.raises(
        CheckpointError, match=r"has shape \(3, 32\); \(4, 32\) is needed"
    ):
        load_classifier(tmp_path / "c", num_labels=4)
