"""Heads that classify, and their losses, beside those of transformers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

from gemma import gm
from gemma.gm import losses

torch = pytest.importorskip("torch", reason="parity needs torch and transformers")
transformers = pytest.importorskip(
    "transformers", reason="parity needs torch and transformers"
)

from shapes import SHAPES, random_model  # noqa: E402

pytestmark = [
    pytest.mark.parity,
    pytest.mark.slow,
    # Torch and transformers warn about themselves.
    pytest.mark.filterwarnings("ignore"),
]
TEXTS = ["gemma1_mqa", "gemma2_gqa", "gemma3_mqa"]
CLASSES = {
    "gemma1_mqa": ("GemmaForSequenceClassification", "GemmaForTokenClassification"),
    "gemma2_gqa": ("Gemma2ForSequenceClassification", "Gemma2ForTokenClassification"),
    "gemma3_mqa": ("Gemma3TextForSequenceClassification", None),
}
# Padding on the right, on the left, and none.
TOKENS = np.array([[5, 9, 31, 7, 0, 0], [0, 0, 0, 44, 6, 17], [9, 8, 7, 6, 5, 4]])


def both(name, kind, num_labels, tmp_path, **fields):
    """Returns their classifier and ours, with the same weights."""
    config = SHAPES[name]()
    config.num_labels = num_labels
    for field, value in fields.items():
        setattr(config, field, value)
    decoder = random_model(SHAPES[name](), seed=7)
    decoder.save_pretrained(tmp_path)
    theirs = getattr(transformers, CLASSES[name][kind])(config).float().eval()
    theirs.model.load_state_dict(decoder.model.state_dict())
    with torch.no_grad():
        for weight in theirs.score.parameters():
            weight.copy_(torch.randn(weight.shape, generator=torch.manual_seed(3)))
    model, params = gm.ckpts.load_model(tmp_path, dtype=jnp.float32)
    ours = (gm.nn.SequenceClassifier, gm.nn.TokenClassifier)[kind](model, num_labels)
    score = {n: jnp.asarray(w.detach()) for n, w in theirs.score.named_parameters()}
    return theirs, ours, {**params, "score": score}


def their_loss(theirs, labels):
    mask = torch.tensor(TOKENS != 0).long()
    return theirs(torch.tensor(TOKENS), attention_mask=mask, labels=labels)


def our_logits(ours, params):
    return ours.apply(
        {"params": params}, jnp.asarray(TOKENS), mask=jnp.asarray(TOKENS != 0)
    ).logits


def assert_same(theirs, ours, params, labels, loss):
    """Compares logits, loss and the gradients of head and embeddings."""
    out = their_loss(theirs, labels)
    out.loss.backward()

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def run(params):
        logits = our_logits(ours, params)
        return loss(logits), logits

    (value, found), gradient = run(params)
    real = np.ones(TOKENS.shape, bool) if out.logits.ndim == 2 else TOKENS != 0
    found = np.asarray(found)
    if out.logits.ndim == 3:  # what is said of padding does not matter
        found, expected = found[real], out.logits.detach().numpy()[real]
    else:
        expected = out.logits.detach().numpy()
    assert_close(found, expected, law="parity")
    np.testing.assert_allclose(value, out.loss.item(), rtol=1e-4)
    pairs = [
        (gradient["score"]["weight"], theirs.score.weight),
        (
            gradient["embedder"]["input_embedding"],
            theirs.model.get_input_embeddings().weight,
        ),
        (
            gradient["layer_0"]["mlp"]["down"],
            theirs.model.layers[0].mlp.down_proj.weight,
        ),
    ]
    for mine, weight in pairs:
        grad = weight.grad.numpy()
        if mine.shape == weight.shape and weight.shape[0] == 100:  # the row of padding
            mine, grad = mine[1:], grad[1:]
        np.testing.assert_allclose(mine, grad, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("name", TEXTS)
def test_one_of_several_labels(name, tmp_path):
    theirs, ours, params = both(name, 0, 4, tmp_path)
    labels = np.array([3, 0, 2])
    loss = lambda logits: losses.cross_entropy(logits, jnp.asarray(labels))  # noqa: E731
    assert_same(theirs, ours, params, torch.tensor(labels), loss)


@pytest.mark.parametrize("name", TEXTS[:2])
def test_a_number(name, tmp_path):
    theirs, ours, params = both(name, 0, 1, tmp_path)
    labels = np.array([0.5, -2.0, 1.0], np.float32)
    loss = lambda logits: losses.squared_error(logits[:, 0], jnp.asarray(labels))  # noqa: E731
    assert_same(theirs, ours, params, torch.tensor(labels), loss)


def test_any_of_several_labels(tmp_path):
    theirs, ours, params = both("gemma2_gqa", 0, 3, tmp_path)
    labels = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], np.float32)
    loss = lambda logits: losses.binary_cross_entropy(logits, jnp.asarray(labels))  # noqa: E731
    assert_same(theirs, ours, params, torch.tensor(labels), loss)


@pytest.mark.parametrize("name", TEXTS[:2])
def test_labels_of_tokens(name, tmp_path):
    theirs, ours, params = both(name, 1, 5, tmp_path)
    labels = np.where(TOKENS == 0, losses.IGNORED, TOKENS % 5)
    loss = lambda logits: losses.cross_entropy(logits, jnp.asarray(labels))  # noqa: E731
    assert_same(theirs, ours, params, torch.tensor(labels), loss)
