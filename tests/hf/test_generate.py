"""`generate` and its settings, streamers and the pipeline."""

import io
import json
import threading

import jax.numpy as jnp
import numpy as np
import pytest

from gemma import hf

PROMPT = "in the house"


@pytest.fixture(scope="module")
def tokenizer(tiny_folder):
    return hf.AutoTokenizer.from_pretrained(tiny_folder("gemma1_mqa"))


@pytest.fixture(scope="module")
def lm(tiny_folder):
    return hf.GemmaForCausalLM.from_pretrained(
        tiny_folder("gemma1_mqa"), dtype="float32"
    )


@pytest.fixture
def ids(tokenizer):
    return tokenizer(PROMPT, return_tensors="np")["input_ids"]


def greedy(lm, ids, **options):
    return np.asarray(lm.generate(ids, do_sample=False, **options))


@pytest.mark.slow
def test_answer_is_that_of_the_sampler(lm, ids, tiny_sampler):
    expected = tiny_sampler("gemma1_mqa").generate(ids[0].tolist(), max_new_tokens=9)
    found = greedy(lm, ids, max_new_tokens=9, eos_token_id=[1, 6])
    assert found[0, ids.shape[1] :].tolist() == list(expected.token_ids)


@pytest.mark.slow
def test_what_a_tokenizer_returns_is_a_prompt(lm, ids, tokenizer):
    expected = greedy(lm, ids, max_new_tokens=3).tolist()
    with_mask = tokenizer(PROMPT, return_tensors="np")
    alone = tokenizer(PROMPT, return_tensors="np", return_attention_mask=False)
    for inputs in (with_mask, alone):
        assert greedy(lm, inputs, max_new_tokens=3).tolist() == expected
        assert greedy(lm, None, **inputs, max_new_tokens=3).tolist() == expected


@pytest.mark.slow
def test_padding_changes_no_answer(lm, ids):
    length = ids.shape[1]
    alone = greedy(lm, ids, max_new_tokens=6)[0, length:]
    for left, right in ((3, 0), (0, 3)):
        mask = np.pad(np.ones_like(ids), ((0, 0), (left, right)))
        padded = np.pad(ids, ((0, 0), (left, right)))
        found = greedy(lm, padded, attention_mask=mask, max_new_tokens=6)
        assert found[0, length + 3 :].tolist() == alone.tolist()


@pytest.mark.slow
def test_answers_that_end_are_filled_up(lm, ids):
    free = greedy(lm, ids, max_new_tokens=6)[0, ids.shape[1] :]
    both = np.repeat(ids, 2, axis=0)
    both[1, -1] = 9
    found = greedy(lm, both, max_new_tokens=6, eos_token_id=int(free[2]))
    assert found[0, ids.shape[1] :].tolist()[:3] == free[:3].tolist()
    assert set(found[0, ids.shape[1] + 3 :].tolist()) <= {0}


@pytest.mark.slow
def test_stop_strings_need_a_tokenizer_and_end_answers(lm, ids, tokenizer):
    answer = greedy(lm, ids, max_new_tokens=8)[0, ids.shape[1] :]
    with pytest.raises(ValueError, match="stop_strings need the tokenizer"):
        greedy(lm, ids, max_new_tokens=8, stop_strings="x")
    piece = tokenizer.decode(answer[3:4])
    stop = {"stop_strings": [piece], "tokenizer": tokenizer}
    found = greedy(lm, ids, max_new_tokens=8, **stop)[0, ids.shape[1] :]
    text = tokenizer.decode(found)
    assert piece in text
    assert len(found) < len(answer)


@pytest.mark.slow
def test_seeds_repeat(lm, ids):
    draw = {"do_sample": True, "max_new_tokens": 8, "top_k": 0}
    hf.set_seed(3)
    first = lm.generate(ids, **draw).tolist()
    second = lm.generate(ids, **draw).tolist()
    hf.set_seed(3)
    assert lm.generate(ids, **draw).tolist() == first != second
    keyed = lm.generate(ids, **draw, prng_key=5).tolist()
    assert lm.generate(ids, **draw, prng_key=5).tolist() == keyed


@pytest.mark.slow
def test_forbidden_words_never_come(lm, ids):
    answer = greedy(lm, ids, max_new_tokens=5)[0, ids.shape[1] :].tolist()
    found = greedy(lm, ids, max_new_tokens=5, bad_words_ids=[[i] for i in answer])
    assert not set(found[0, ids.shape[1] :].tolist()) & set(answer)


@pytest.mark.slow
def test_streamer_prints_the_answer(lm, ids, tokenizer, monkeypatch):
    monkeypatch.setattr("sys.stdout", out := io.StringIO())
    streamer = hf.TextStreamer(tokenizer, skip_prompt=True)
    found = greedy(lm, ids, max_new_tokens=6, streamer=streamer)
    assert out.getvalue() == tokenizer.decode(found[0, ids.shape[1] :]) + "\n"


@pytest.mark.slow
def test_streamer_yields_the_answer(lm, ids, tokenizer):
    streamer = hf.TextIteratorStreamer(tokenizer, skip_special_tokens=True)
    thread = threading.Thread(
        target=lm.generate, args=(ids,), kwargs={"streamer": streamer}
    )
    thread.start()
    text = "".join(streamer)
    thread.join()
    assert text.startswith(PROMPT)
    assert len(text) > len(PROMPT)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"typical_p": 0.9},
            TypeError,
            "typical_p=0.9 cannot be honoured: temperature",
        ),
        ({"num_beams": 2, "do_sample": True}, ValueError, "num_beams with do_sample"),
        ({"num_beams": 2, "num_return_sequences": 3}, ValueError, "at most as many"),
        ({"max_new_tokens": 2.5}, TypeError, "max_new_tokens is 2.5"),
        ({"min_new_tokens": -1}, ValueError, "min_new_tokens is -1"),
        ({"max_time": float("nan")}, ValueError, "max_time is nan"),
        ({"past_key_values": {}}, TypeError, "generate takes a DynamicCache"),
        ({"no_repeat_ngram_size": 1.5}, TypeError, "no_repeat_ngram_size is 1.5"),
        ({"bad_words_ids": [[]]}, ValueError, "needs sequences of one token id"),
        (
            {"use_cache": False, "past_key_values": hf.DynamicCache()},
            ValueError,
            "past_key_values needs use_cache=True",
        ),
        ({"temprature": 1}, TypeError, "generate has no 'temprature'"),
        ({"temperature": 0.5}, ValueError, "changes nothing unless.*do_sample=True"),
        ({"max_length": 2}, ValueError, "there is no room for an answer"),
        ({"attention_mask": np.ones((1, 2))}, ValueError, "attention_mask has shape"),
    ],
)
def test_options_that_cannot_be_honoured(options, error, message, lm, ids):
    with pytest.raises(error, match=message):
        lm.generate(ids, **options)


def test_nothing_to_go_on_from(lm):
    with pytest.raises(ValueError, match="There is no prompt"):
        lm.generate(max_new_tokens=3)


def test_config_of_a_checkpoint(tmp_path):
    stated = {
        "eos_token_id": [1, 106], "do_sample": True, "top_k": 64, "top_p": 0.95,
        "cache_implementation": "hybrid", "transformers_version": "4.50.0",
    }  # fmt: skip
    (tmp_path / "generation_config.json").write_text(json.dumps(stated))
    config = hf.GenerationConfig.from_pretrained(tmp_path)
    assert (config.top_k, config.stop_ids) == (64, [1, 106])
    config.save_pretrained(tmp_path / "again")
    assert hf.GenerationConfig.from_pretrained(tmp_path / "again") == config


@pytest.mark.slow
def test_a_config_that_asks_for_what_there_is_not_is_refused_by_its_path(tmp_path):
    (tmp_path / "generation_config.json").write_text(json.dumps({"typical_p": 0.5}))
    with pytest.raises(ValueError, match=r"generation_config\.json: typical_p=0\.5"):
        hf.GenerationConfig.from_pretrained(tmp_path)


def test_model_takes_the_config_that_lies_beside_it(tiny_folder, tmp_path):
    hf.GemmaForCausalLM.from_pretrained(tiny_folder("gemma1_mqa")).save_pretrained(
        tmp_path
    )
    stated = {"eos_token_id": [1, 106], "do_sample": True, "top_k": 3}
    (tmp_path / "generation_config.json").write_text(json.dumps(stated))
    model = hf.GemmaForCausalLM.from_pretrained(tmp_path)
    assert model.generation_config.top_k == 3
    assert model.generation_config.stop_ids == [1, 106]


@pytest.mark.slow
def test_pipeline_takes_several_texts(lm, tokenizer):
    pipe = hf.pipeline(model=lm, tokenizer=tokenizer)
    found = pipe(["in", PROMPT], max_new_tokens=4, do_sample=False)
    assert [row[0]["generated_text"].startswith(text) for row, text in
            zip(found, ["in", PROMPT], strict=True)] == [True, True]  # fmt: skip
    alone = pipe(PROMPT, max_new_tokens=4, do_sample=False, return_full_text=False)
    assert PROMPT + alone[0]["generated_text"] == found[1][0]["generated_text"]


def test_pipeline_of_another_task(lm):
    with pytest.raises(ValueError, match=r"task is 'fill-mask'; there is 'text-gen"):
        hf.pipeline("fill-mask", model=lm)


@pytest.mark.slow
def test_padding_without_a_mask_is_not_read(lm, ids):
    alone = greedy(lm, ids, max_new_tokens=4)[0, ids.shape[1] :]
    pad = lm.generation_config.pad_token_id
    padded = np.pad(ids, ((0, 0), (3, 0)), constant_values=pad)
    found = greedy(lm, padded, max_new_tokens=4)
    assert found[0, padded.shape[1] :].tolist() == alone.tolist()


def test_padding_that_ends_answers_is_no_padding_for_sure():
    assert hf.GenerationConfig(pad_token_id=0, eos_token_id=1).padding_id == 0
    assert hf.GenerationConfig(pad_token_id=1, eos_token_id=[1, 6]).padding_id is None


def test_ids_are_whole_numbers(lm, ids):
    floats = ids.astype(np.float32) + 0.5
    calls = lm.generate, lm, lm.get_input_embeddings()
    for call in calls:
        with pytest.raises(TypeError, match="dtype float32; whole numbers"):
            call(floats)


@pytest.mark.parametrize("kind", [np.array, jnp.array, tuple, list, set])
def test_ends_may_come_in_arrays(kind, lm, ids):
    free = lm.generate(ids, max_new_tokens=4)[0, ids.shape[1] :].tolist()
    ends = kind([free[1], 470])
    config = hf.GenerationConfig(eos_token_id=ends, pad_token_id=np.array(0))
    assert set(config.stop_ids) == {free[1], 470}
    found = lm.generate(ids, max_new_tokens=4, eos_token_id=ends)
    assert found.shape[1] == ids.shape[1] + free.index(free[1]) + 1
    assert set(config.to_dict()["eos_token_id"]) == {free[1], 470}


def test_forbidden_words_may_come_in_arrays(lm, ids):
    free = int(lm.generate(ids, max_new_tokens=1)[0, -1])
    for options in (
        {"suppress_tokens": np.array([free])},
        {"bad_words_ids": np.array([[free]])},
    ):
        assert int(lm.generate(ids, max_new_tokens=1, **options)[0, -1]) != free


def test_ends_are_whole_numbers(lm, ids):
    with pytest.raises(TypeError, match=r"eos_token_id is 1.5; whole numbers"):
        lm.generate(ids, eos_token_id=1.5)
