"""`generate` where the host chooses tokens; numbers are compared in tests/parity."""

import jax.numpy as jnp
import numpy as np
import pytest

from gemma import hf
from gemma.hf._foresight import PromptLookup
from gemma.hf._steps import AheadSteps

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lm(tiny_folder):
    folder = tiny_folder("gemma1_mqa")
    return hf.GemmaForCausalLM.from_pretrained(folder, dtype="float32")


@pytest.fixture(scope="module")
def tokenizer(tiny_folder):
    return hf.AutoTokenizer.from_pretrained(tiny_folder("gemma1_mqa"))


@pytest.fixture
def ids(tokenizer):
    return tokenizer("in the house", return_tensors="np")["input_ids"]


@pytest.fixture
def plain(lm, ids):
    return np.asarray(lm.generate(ids, max_new_tokens=6, eos_token_id=[]))[0].tolist()


def generate(lm, ids, **options):
    options = {"max_new_tokens": 6, "eos_token_id": [], **options}
    return np.asarray(lm.generate(ids, **options))[0].tolist()


def test_the_host_chooses_what_the_program_does(lm, ids, plain):
    assert generate(lm, ids, logits_processor=[lambda ids, scores: scores]) == plain
    assert generate(lm, ids, use_cache=False) == plain
    padded = np.pad(ids, ((0, 0), (0, 3)))
    mask = (np.arange(padded.shape[1]) < ids.shape[1])[None]
    found = generate(lm, padded, attention_mask=mask, use_cache=False)
    assert found[-6:] == plain[-6:]


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_functions_get_arrays_of_the_kind_that_was_passed(kind, lm, ids):
    seen = []

    class Watch(hf.LogitsProcessor):
        def __call__(self, input_ids, scores):
            seen.extend([input_ids, scores])
            return scores

    class Stop(hf.StoppingCriteria):
        def __call__(self, input_ids, scores, **options):
            seen.append(input_ids)
            return input_ids.shape[1] >= ids.shape[1] + 2

    found = generate(
        lm,
        kind(ids),
        logits_processor=hf.LogitsProcessorList([Watch()]),
        stopping_criteria=hf.StoppingCriteriaList([Stop()]),
    )
    assert len(found) == ids.shape[1] + 2
    assert {type(array) for array in seen} == {type(kind(ids))}


def test_times_end_answers(lm, ids):
    assert len(generate(lm, ids, max_time=0.0)) == ids.shape[1] + 1
    over = hf.StoppingCriteriaList([hf.MaxTimeCriteria(0.0)])
    assert len(generate(lm, ids, stopping_criteria=over)) == ids.shape[1] + 1


def test_stop_strings_end_answers_on_the_host_too(lm, ids, tokenizer, plain):
    piece = tokenizer.decode(plain[ids.shape[1] + 2 :][:1])
    options = {"stop_strings": [piece], "tokenizer": tokenizer}
    expected = generate(lm, ids, **options)
    assert generate(lm, ids, no_repeat_ngram_size=50, **options) == expected


def test_stop_strings_may_be_control_tokens(lm, ids, tokenizer, plain):
    *_, last = plain[ids.shape[1] :][:3]
    name = tokenizer.decode([last])
    assert name in tokenizer.tokenizer.control_tokens
    before = tokenizer.decode(plain[ids.shape[1] + 1 :][:1])
    for stop in (name, before[-1:] + name, ["no such", name]):
        found = generate(lm, ids, stop_strings=stop, tokenizer=tokenizer)
        assert found[ids.shape[1] :] == plain[ids.shape[1] :][:3]


def test_seeds_repeat_on_the_host(lm, ids):
    draw = {"do_sample": True, "top_k": 0, "min_length": 2}
    assert generate(lm, ids, prng_key=3, **draw) == generate(
        lm, ids, prng_key=3, **draw
    )
    several = lm.generate(ids, num_return_sequences=3, max_new_tokens=5, **draw)
    assert len({tuple(row) for row in several.tolist()}) > 1


def test_a_streamer_follows_the_host(lm, ids, tokenizer):
    streamer = hf.TextIteratorStreamer(tokenizer, skip_prompt=True)
    found = generate(lm, ids, streamer=streamer, use_cache=False)
    assert "".join(streamer) == tokenizer.decode(found[ids.shape[1] :])
    with pytest.raises(ValueError, match="A streamer follows one answer"):
        generate(lm, ids, streamer=streamer, num_beams=2)


def test_reading_ahead_saves_passes(lm):
    ids = [2, *[9, 31, 7] * 4]
    steps = AheadSteps(
        lm, lm.params, PromptLookup(3, 2), num_ahead=3, max_length=len(ids) + 20
    )
    given = {"input_ids": [ids], "attention_mask": np.ones((1, len(ids)))}
    steps.prefill(given)
    # Whatever the model says, the text goes on as it did before.
    for token in [9, 31, 7] * 4:
        steps.advance(np.array([token]))
    assert steps.num_passes == 1 + 12 // 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_return_sequences": 2}, "one prompt and one answer; found 2"),
        ({"num_beams": 2}, "num_beams=2"),
        ({"past_key_values": hf.DynamicCache()}, "input_ids alone"),
        ({"prompt_lookup_num_tokens": 0}, "prompt_lookup_num_tokens is 0"),
    ],
)
def test_what_cannot_be_read_ahead(options, message, lm, ids):
    with pytest.raises(ValueError, match=message):
        lm.generate(ids, **{"prompt_lookup_num_tokens": 3, **options})


def test_a_cache_that_has_the_whole_prompt(lm, ids):
    past = hf.DynamicCache()
    lm.generate(ids, past_key_values=past, max_new_tokens=3)
    with pytest.raises(ValueError, match="at least one token that the cache does not"):
        lm.generate(ids, past_key_values=past)


def test_scores_that_leave_no_token(lm, ids):
    with pytest.raises(ValueError, match="No token is left to choose"):
        lm.generate(ids, logits_processor=[lambda i, scores: scores - np.inf])
    with pytest.raises(ValueError, match="returned scores of shape"):
        lm.generate(ids, logits_processor=[lambda i, scores: scores[0]])
