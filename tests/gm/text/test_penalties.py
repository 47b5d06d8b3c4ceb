"""Penalties and biases against their definitions, token by token."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import assert_close

from gemma.gm.text import Sampling
from gemma.gm.text._draw import stack
from gemma.gm.text._penalties import History, penalize, record, start_history

SIZE = 30
PROMPT = "The rain is on the roof"
penalties = st.floats(-2, 2, width=32)
jit_penalize = jax.jit(penalize)


def reference(logits, prompt, answer, sampling) -> np.ndarray:
    """Returns the logits with penalties, in plain Python."""
    out = [float(logit) for logit in logits]
    for token_id in range(len(out)):
        count = answer.count(token_id)
        if token_id in prompt or count:
            p = sampling.repetition_penalty
            out[token_id] = (
                out[token_id] / p if out[token_id] > 0 else out[token_id] * p
            )
        out[token_id] -= sampling.frequency_penalty * count
        out[token_id] -= sampling.presence_penalty * (count > 0)
    return np.array(out)


@given(
    st.lists(st.integers(0, SIZE - 1), max_size=12),
    st.lists(st.integers(0, SIZE - 1), max_size=12),
    st.floats(0.25, 4, width=32),
    penalties,
    penalties,
    st.integers(0, 100),
)
def test_penalties_follow_their_definitions(
    prompt, answer, repetition, presence, frequency, seed
):
    sampling = Sampling(
        repetition_penalty=repetition,
        presence_penalty=presence,
        frequency_penalty=frequency,
    )
    logits = np.random.default_rng(seed).normal(size=(2, SIZE)).astype(np.float32)
    history = start_history([prompt, prompt], SIZE)
    counts = np.bincount(np.array(answer, int), minlength=SIZE).astype(np.int32)
    history = history._replace(counts=np.stack([counts, 0 * counts]))
    found = jit_penalize(jnp.asarray(logits), history, stack([sampling] * 2, [0, 0]))
    assert_close(
        found[0], reference(logits[0], prompt, answer, sampling), law="formula"
    )
    assert_close(found[1], reference(logits[1], prompt, [], sampling), law="formula")


def test_rows_are_penalized_each_in_its_own_way():
    logits = jnp.ones([2, SIZE])
    history = History(jnp.ones([2, SIZE], bool), jnp.zeros([2, SIZE], jnp.int32))
    samplings = [Sampling(), Sampling(repetition_penalty=2.0)]
    found = jit_penalize(logits, history, stack(samplings, [0, 0]))
    assert found[:, 0].tolist() == [1.0, 0.5]


def test_only_rows_that_go_on_are_recorded():
    history = start_history([[1], [1]], SIZE)
    history = record(history, jnp.array([4, 4]), jnp.array([True, False]))
    history = record(history, jnp.array([4, 5]), jnp.array([True, True]))
    assert np.asarray(history.counts)[0, 4] == 2
    assert np.asarray(history.counts)[1, [4, 5]].tolist() == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"repetition_penalty": 1.7},
        {"presence_penalty": 1.5},
        {"frequency_penalty": 0.9},
        {"repetition_penalty": 1.2, "frequency_penalty": -0.5, "logit_bias": {20: 3.0}},
    ],
    ids=str,
)
def test_greedy_answers_take_the_best_of_what_is_left(change, tiny_sampler):
    """Each token of an answer, from the model's own logits without a cache."""
    sampler = tiny_sampler("gemma2_gqa")
    sampling = Sampling(**change)
    generation = sampler.generate(PROMPT, max_new_tokens=20, sampling=sampling)
    assert generation != sampler.generate(PROMPT, max_new_tokens=20)
    ids = [*generation.prompt_ids, *generation.token_ids]
    begin = len(generation.prompt_ids)
    padded = jnp.array([[*ids, *[0] * (48 - len(ids))]])
    logits = sampler.model.apply({"params": sampler.params}, padded).logits[0]
    for place, token_id in enumerate(generation.token_ids, begin):
        answer = list(ids[begin:place])
        expected = reference(logits[place - 1], ids[:begin], answer, sampling)
        for biased, bias in sampling.logit_bias.items():
            expected[biased] += bias
        assert token_id == expected.argmax()


@pytest.mark.slow
def test_rows_with_penalties_do_not_disturb_others(tiny_sampler):
    sampler = tiny_sampler("gemma2_gqa")
    plain, odd = Sampling(temperature=1.0), Sampling(presence_penalty=2.0)
    biased = Sampling(logit_bias={30: 100.0})
    options = {"max_new_tokens": 8, "rng": [1, 2, 3]}
    together = sampler.generate([PROMPT] * 3, sampling=[plain, odd, biased], **options)
    for i, sampling in enumerate((plain, odd, biased)):
        alone = sampler.generate(
            PROMPT, sampling=sampling, max_new_tokens=8, rng=[i + 1]
        )
        assert together[i] == alone
    assert set(together[2].token_ids) == {30}


@pytest.mark.slow
def test_a_bias_of_minus_infinity_forbids(tiny_sampler):
    sampler = tiny_sampler("gemma2_gqa")
    best = sampler.generate(PROMPT, max_new_tokens=1).token_ids[0]
    without = sampler.generate(PROMPT, max_new_tokens=12, forbidden_tokens=[best])
    sampling = Sampling(logit_bias={best: -np.inf})
    assert sampler.generate(PROMPT, max_new_tokens=12, sampling=sampling) == without


@pytest.mark.slow
def test_no_penalty_compiles_anew(tiny_sampler):
    from gemma.gm.text._decode import decode_steps

    sampler = tiny_sampler("gemma2_gqa")
    sampler.generate(PROMPT, max_new_tokens=5)
    compiled = decode_steps._cache_size()
    for change in (
        {"repetition_penalty": 1.3},
        {"presence_penalty": 1.0, "temperature": 1.0},
        {"logit_bias": {3: 1.0}},
    ):
        sampler.generate(PROMPT, max_new_tokens=5, sampling=Sampling(**change))
    assert decode_steps._cache_size() == compiled


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"repetition_penalty": 0.0},
            r"repetition_penalty is 0.0; it must lie in \[1e-25",
        ),
        ({"repetition_penalty": np.nan}, "repetition_penalty is nan"),
        (
            {"presence_penalty": np.inf},
            "presence_penalty is inf; it must be a finite number",
        ),
        ({"frequency_penalty": np.nan}, "frequency_penalty is nan"),
        ({"logit_bias": {5: np.inf}}, "logit_bias of token 5 is inf"),
    ],
)
def test_impossible_penalties_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Sampling(), **change)


def test_bias_of_a_token_that_is_none_is_refused(tiny_sampler):
    sampler = tiny_sampler("gemma2_gqa")
    with pytest.raises(ValueError, match="logit_bias has token 480, outside the voc"):
        sampler.stream(PROMPT, sampling=Sampling(logit_bias={480: 1.0}))


def test_soft_tokens_outside_the_vocabulary_are_no_tokens_that_were_said():
    history = start_history([[3, SIZE, SIZE], [SIZE + 7, 5]], SIZE)
    assert np.argwhere(history.in_prompt).tolist() == [[0, 3], [1, 5]]
