"""Constrained answers through the sampler: they match, whatever the model would say."""

import itertools
import json
import re
import time
from unittest import mock

import jax.numpy as jnp
import jsonschema
import numpy as np
import pytest

from gemma.gm.kernels import can_exchange
from gemma.gm.text import Constraint, Sampler, Sampling, _stream

pytest.importorskip("llguidance", reason="pip install 'gemma-jax[constrained]'")

PROMPT = "The rain is on the roof"
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
HOT = Sampling(temperature=2.0)


@pytest.fixture(scope="module")
def sampler(tiny_model, tiny_tokenizer):
    tiny = tiny_model("gemma2_gqa")
    return Sampler(
        model=tiny.model,
        params=tiny.params,
        tokenizer=tiny_tokenizer,
        cache_length=120,
        prefill_chunk_length=32,
    )


@pytest.mark.slow
@pytest.mark.parametrize("rng", range(12))
@pytest.mark.parametrize("max_new_tokens", [30, 80])
def test_answers_match_a_schema(sampler, rng, max_new_tokens):
    """A random model closes no string by itself: it is led to the end in time."""
    options = {"max_new_tokens": max_new_tokens, "sampling": HOT, "rng": rng}
    generation = sampler.generate(PROMPT, schema=PERSON, **options)
    jsonschema.validate(json.loads(generation.text), PERSON)
    assert generation.finish_reason == "stop"
    assert len(generation.token_ids) <= max_new_tokens


@pytest.mark.slow
def test_greedy_answers_are_the_best_that_match(sampler):
    generation = sampler.generate(PROMPT, constraint=Constraint.choice(["in", "on"]))
    logprobs = sampler.generate(PROMPT, max_new_tokens=1, num_logprobs=480)
    ranks = [token_id for token_id, _ in logprobs.logprobs[0].top]
    best = min(
        (sampler.tokenizer.encode(text)[0] for text in ("in", "on", "i", "o")),
        key=ranks.index,
    )
    assert generation.text in ("in", "on")
    assert generation.text.startswith(sampler.tokenizer.decode([best]))


@pytest.mark.slow
def test_rows_have_constraints_each_of_its_own(sampler):
    constraints = [
        Constraint.regex(r"[0-9]{2,5}"),
        None,
        Constraint.choice(["garden", "gardener"]),
        Constraint.json_schema({"type": "boolean"}),
    ]
    options = {"max_new_tokens": 12, "sampling": HOT, "rng": [1, 2, 3, 4]}
    together = sampler.generate([PROMPT] * 4, constraint=constraints, **options)
    texts = [generation.text for generation in together]
    assert re.fullmatch(r"[0-9]{2,5}", texts[0])
    assert texts[2] in ("garden", "gardener")
    assert texts[3] in ("true", "false")
    options.pop("rng")
    for i, expected in enumerate(together):
        alone = sampler.generate(
            PROMPT, constraint=constraints[i], rng=[i + 1], **options
        )
        assert alone == expected


@pytest.mark.slow
def test_a_constraint_goes_with_other_options(sampler):
    """Penalties, logprobs, streams: what is not allowed never comes."""
    digits = Constraint.regex(r"[0-9]{8}")
    for options in (
        {"num_logprobs": 1},
        {"sampling": Sampling(presence_penalty=2.0)},
        {"sampling": Sampling(temperature=1.0, top_k=3)},
    ):
        assert re.fullmatch(
            r"[0-9]{8}", sampler.sample(PROMPT, constraint=digits, **options)
        )
    pieces = sampler.sample(PROMPT, constraint=digits, stream=True)
    assert re.fullmatch(r"[0-9]{8}", "".join(pieces))


@pytest.fixture
def answer_step_by_step(monkeypatch):
    """How answers are made where a program cannot ask: they are to be the same."""

    def answer(sampler, prompts, **options):
        with monkeypatch.context() as patched:
            patched.setattr(_stream, "can_exchange", lambda params: False)
            return sampler.generate(prompts, **options)

    return answer


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampling",
    [Sampling(), HOT, Sampling(presence_penalty=1.0, temperature=1.0)],
    ids=["greedy", "hot", "penalized"],
)
def test_programs_that_ask_choose_as_those_that_are_told(
    sampler, sampling, answer_step_by_step, monkeypatch
):
    constraints = [
        Constraint.regex(r"([a-z]+ )+[a-z]{20}"),
        None,
        Constraint.regex("[0-9]{7}"),
    ]
    prompts = [PROMPT, "the garden", "on"]
    options = {"constraint": constraints, "sampling": sampling, "rng": [1, 2, 3]}
    options |= {"max_new_tokens": 80}
    expected = answer_step_by_step(sampler, prompts, **options)
    num_tokens = len(expected[0].token_ids)
    assert num_tokens > 33, "more than one call is needed"
    go_on = mock.Mock(side_effect=_stream.Stream._go_on, autospec=True)
    monkeypatch.setattr(_stream.Stream, "_go_on", lambda *a, **k: go_on(*a, **k))
    assert sampler.generate(prompts, **options) == expected
    if can_exchange(sampler.params):
        assert go_on.call_count < num_tokens / 4


@pytest.mark.slow
def test_who_reads_slowly_gets_the_same(sampler, answer_step_by_step):
    """A program waits a tenth of a second, and then ends and is called again."""
    options = {"constraint": Constraint.regex("[a-z]{9}"), "sampling": HOT, "rng": 5}
    expected = answer_step_by_step(sampler, PROMPT, **options).text
    text = ""
    for piece in sampler.stream(PROMPT, **options):
        text += piece.text
        time.sleep(0.15)
    assert text == expected


@pytest.mark.slow
def test_streams_that_take_turns_do_not_block_each_other(sampler):
    constraints = [
        Constraint.regex(f"[{letters}]{{9}}") for letters in ("ab", "cd", "ef")
    ]
    options = {"max_new_tokens": 12}
    expected = [sampler.sample(PROMPT, constraint=c, **options) for c in constraints]
    streams = [
        sampler.sample(PROMPT, constraint=c, stream=True, **options)
        for c in constraints
    ]
    texts = ["", "", ""]
    for pieces in itertools.zip_longest(*streams, fillvalue=""):
        texts = [text + piece for text, piece in zip(texts, pieces, strict=True)]
        sampler.sample(PROMPT, max_new_tokens=1)
    assert texts == expected


@pytest.mark.slow
def test_what_was_stopped_can_be_gone_on_from(sampler):
    """The program that was left in the middle of a step has not spoiled the cache."""
    stream = sampler.stream(
        PROMPT, constraint=Constraint.regex("[a-z]{30}"), return_state=True
    )
    for _ in range(5):
        next(stream)
    state = stream.state
    ids = jnp.asarray(state.token_ids, jnp.int32)
    fresh = sampler.model.apply({"params": sampler.params}, ids, last_only=True)
    np.testing.assert_allclose(state.logits, fresh.logits, atol=1e-4)


@pytest.mark.slow
def test_nothing_compiles_anew(sampler):
    from gemma.gm.text._decode import decode_steps

    def answer(schema, **options):
        sampler.generate(PROMPT, schema=schema, max_new_tokens=9, **options)
        return decode_steps._cache_size()

    compiled = answer({"type": "integer"})
    assert answer({"type": "boolean"}, sampling=Sampling(temperature=1.0)) == compiled


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schema": False}, "schema"),
        ({"schema": {"type": "integer", "minimum": 5, "maximum": 3}}, "schema"),
        ({"schema": PERSON, "max_new_tokens": 4}, "4"),
        ({"schema": PERSON, "stop": ["x"]}, "Stop strings and tokens would cut"),
        ({"schema": PERSON, "stop_tokens": [7]}, "Stop strings and tokens would cut"),
        ({"schema": PERSON, "constraint": Constraint.regex("a")}, "not both"),
        ({"constraint": [Constraint.regex("a")] * 2}, "1 prompts and 2 constraints"),
    ],
)
def test_what_cannot_be_is_refused_by_the_call_itself(sampler, options, message):
    with pytest.raises(ValueError, match=message):
        sampler.stream(PROMPT, **options)


@pytest.mark.slow
def test_forbidden_tokens_that_leave_nothing_are_said(sampler):
    forbidden = [t for t in range(480) if "7" in sampler.tokenizer.decode([t])]
    with pytest.raises(ValueError, match="leave nothing that the constraint allows"):
        sampler.generate(
            PROMPT, constraint=Constraint.choice(["7"]), forbidden_tokens=forbidden
        )


@pytest.mark.slow
def test_a_conversation_goes_on_after_a_constrained_answer(sampler):
    from gemma.gm.text import ChatSampler

    chat = ChatSampler(
        model=sampler.model,
        params=sampler.params,
        tokenizer=sampler.tokenizer,
        cache_length=120,
        multi_turn=True,
    )
    chat._sampler = sampler
    answer = chat.chat("in?", constraint=Constraint.choice(["in", "on"]))
    assert answer in ("in", "on")
    whole = chat.conversation
    second = chat.chat("why", max_new_tokens=6)
    asked = type(whole)((*whole.turns, chat.turns[-2]))
    assert sampler.generate(asked, max_new_tokens=6).text == second
