"""Ids and labels outside what a model has are errors, wherever they come in."""

import jax
import numpy as np
import pytest

from gemma import hf

IDS = np.array([[2, 31, 77, 9], [2, 55, 8, 90]])
FIELDS = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "head_dim": 8,
    "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 100,
}  # fmt: skip


def make(kind, **fields):
    return kind(hf.GemmaConfig(**FIELDS, **fields))


@pytest.fixture(scope="module")
def lm():
    return make(hf.GemmaForCausalLM)


def changed(ids, value):
    ids = ids.copy()
    ids[0, -1] = value
    return ids


@pytest.mark.parametrize("wrong", [-1, -100, 100, 10**6])
def test_ids_without_a_row(wrong, lm):
    ids = changed(IDS, wrong)
    calls = [
        lm,
        lm.model,
        make(hf.GemmaForSequenceClassification),
        make(hf.GemmaForTokenClassification),
        lm.get_input_embeddings(),
        lambda ids: lm(ids, attention_mask=IDS * 0 + (ids == IDS), use_cache=False),
        lambda ids: lm(ids, past_key_values=lm.init_cache(2, 16)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=f"have {wrong}, and the embedding.*to 99"):
            call(ids)
    with pytest.raises(ValueError, match=f"have {wrong}, and the embedding"):
        lm.generate(ids, max_new_tokens=1)


def test_the_last_row_is_one(lm):
    assert lm(changed(IDS, 99)).logits.shape == (2, 4, 100)


def test_the_message_names_the_token(tiny_folder):
    lm = hf.GemmaForCausalLM.from_pretrained(tiny_folder("gemma1_mqa"))
    piece = hf.GemmaTokenizer.from_pretrained(tiny_folder("gemma1_mqa")).convert_ids_to_tokens(470)  # fmt: skip
    lm.resize_token_embeddings(470)
    with pytest.raises(ValueError, match=r"have 470 \(") as error:
        lm(changed(IDS, 470))
    assert piece in str(error.value)


def test_ids_under_jit_are_not_known_yet(lm):
    found = jax.jit(lambda ids: lm(ids, labels=ids).loss)(IDS)
    assert np.isfinite(found)


@pytest.mark.parametrize("wrong", [-1, -99, 100])
def test_labels_that_are_no_tokens(wrong, lm):
    with pytest.raises(ValueError, match=f"labels have {wrong}; they go from 0 to 99"):
        lm(IDS, labels=changed(IDS, wrong))


@pytest.mark.parametrize("use_cache", [False, True])
def test_a_mask_longer_than_the_ids(use_cache, lm):
    longer = np.ones((2, 7), int)
    with pytest.raises(ValueError, match=r"7 columns for 4 tokens.*only with past_key"):
        lm(IDS, attention_mask=longer, use_cache=use_cache)
    past = lm(IDS[:, :3]).past_key_values
    assert lm(IDS, attention_mask=longer, past_key_values=past).logits.shape[1] == 4


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (IDS[:, :3], ValueError, r"shape \(2, 3\); \(2, 4\) is needed"),
        (IDS * 1.0, TypeError, "labels have dtype float32; whole numbers"),
    ],
)
def test_labels_of_another_kind(labels, error, message, lm):
    with pytest.raises(error, match=message):
        lm(IDS, labels=labels)


@pytest.mark.parametrize(
    ("problem", "labels", "message"),
    [
        ("single_label_classification", [0, 3], "labels have 3; they go from 0 to 2"),
        ("single_label_classification", [-1, 0], "labels have -1; they go from"),
        ("single_label_classification", [0], r"shape \(1,\); \(2,\) is needed"),
        (
            "multi_label_classification",
            [0.0, 1.0],
            "one label is needed for each score",
        ),
        ("multi_label_classification", [[0.0], [1.0]], "one label is needed for each"),
        ("regression", [0.5, 1.0], "one label is needed for each score"),
    ],
)
def test_labels_of_texts(problem, labels, message):
    model = make(hf.GemmaForSequenceClassification, num_labels=3, problem_type=problem)
    with pytest.raises(ValueError, match=message):
        model(IDS, labels=np.array(labels))


def test_labels_of_tokens():
    model = make(hf.GemmaForTokenClassification, num_labels=3)
    labels = np.array([[-100, 0, 1, 2], [0, 0, -100, 1]])
    assert np.isfinite(model(IDS, labels=labels).loss)
    with pytest.raises(ValueError, match="labels have 3; they go from 0 to 2"):
        model(IDS, labels=changed(labels, 3))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"repetition_penalty": 1e39}, r"repetition_penalty is 1e\+39"),
        ({"repetition_penalty": 1e39, "num_beams": 2}, r"repetition_penalty is 1e\+39"),
        ({"sequence_bias": {(5,): 1e39}}, r"sequence_bias of \(5,\) is 1e\+39"),
        ({"sequence_bias": {(5,): float("nan")}}, r"sequence_bias of \(5,\) is nan"),
        ({"num_beams": 2, "length_penalty": float("nan")}, "length_penalty is nan"),
        ({"num_beams": 2, "length_penalty": "1"}, "length_penalty is '1'"),
    ],
)
def test_numbers_that_float32_cannot_hold(option, message, lm):
    with pytest.raises((TypeError, ValueError), match=message):
        lm.generate(IDS, max_new_tokens=2, **option)


@pytest.mark.parametrize("seed", [-1, 2**64, 2.5, True])
def test_seeds_have_at_most_64_bits(seed):
    with pytest.raises((TypeError, ValueError), match=f"seed is {seed}"):
        hf.set_seed(seed)
