"""Tokens that the tokenizer has and the model's embedding has no row for.

All text-only Gemma 3 are published with `<image_soft_token>` as such a token.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from gemma import gm
from gemma.gm.text.constraints import Constraint
from gemma.gm.weights import flatten

JSON = Path(__file__).parents[2] / "data" / "tiny_tokenizer.json"
ROWS, IMAGE = 480, "<image_soft_token>"


def write_tokenizer(folder: Path, *added: str, first: int = ROWS) -> Path:
    state = json.loads(JSON.read_bytes())
    state["added_tokens"] += [
        {"id": first + i, "content": name, "special": True}
        for i, name in enumerate(added)
    ]
    (folder / "tokenizer.json").write_text(json.dumps(state), "utf-8")
    return folder


@pytest.fixture(scope="module")
def tiny(tiny_model, tiny_of):
    config = dataclasses.replace(tiny_model("gemma3_mqa").model.config, vocab_size=ROWS)
    return tiny_of(config)


@pytest.fixture(scope="module")
def sampler(tiny, tmp_path_factory) -> gm.text.Sampler:
    folder = write_tokenizer(tmp_path_factory.mktemp("added"), IMAGE, "<end_of_image>")
    return gm.text.Sampler(
        model=tiny.model,
        params=tiny.params,
        tokenizer=gm.text.Tokenizer.from_path(folder),
        cache_length=48,
    )


def test_answers_are_those_without_the_added_tokens(sampler, tiny):
    plain = gm.text.Sampler(
        model=tiny.model,
        params=tiny.params,
        tokenizer=gm.text.Tokenizer.from_path(JSON),
        cache_length=48,
    )
    found = sampler.generate("the", max_new_tokens=8)
    assert found.token_ids == plain.generate("the", max_new_tokens=8).token_ids


@pytest.mark.parametrize("prompt", [f"a {IMAGE} b", [2, 30, ROWS]])
def test_a_prompt_with_such_a_token_is_refused_by_name(sampler, prompt):
    with pytest.raises(ValueError, match=f"'{IMAGE}', token 480.*480 rows"):
        sampler.generate(prompt, max_new_tokens=1)


def test_what_strangers_write_is_text(sampler):
    """In a conversation the name of a control token is spelled out in letters."""
    turn = gm.dialog.Turn.user(f"a {IMAGE} b")
    sampler.generate(gm.dialog.Conversation((turn,)), max_new_tokens=1)


@pytest.mark.parametrize("option", ["stop_tokens", "forbidden_tokens"])
def test_options_with_such_a_token_are_refused_by_name(sampler, option):
    with pytest.raises(ValueError, match=f"{option} has '{IMAGE}', token 480"):
        sampler.generate("the", max_new_tokens=1, **{option: [IMAGE]})


def test_a_bias_on_such_a_token_is_refused_by_name(sampler):
    sampling = gm.text.Sampling(logit_bias={ROWS: 1.0})
    with pytest.raises(ValueError, match=f"logit_bias has '{IMAGE}'"):
        sampler.generate("the", max_new_tokens=1, sampling=sampling)


def test_structured_output(sampler):
    pytest.importorskip("llguidance")
    answer = sampler.sample("a", constraint=Constraint.choice(["the", "and"]))
    assert answer in ("the", "and")


def test_a_tokenizer_of_another_model_is_refused(tiny, tmp_path):
    folder = write_tokenizer(tmp_path, "<last>", first=1000)
    with pytest.raises(ValueError, match=r"1,001 tokens.*480 rows"):
        gm.text.Sampler(
            model=tiny.model,
            params=tiny.params,
            tokenizer=gm.text.Tokenizer.from_path(folder),
        )


def test_gguf_files_leave_them_out(sampler, tiny, tmp_path):
    weights = flatten(tiny.params)
    gm.ckpts.save_gguf(
        tmp_path / "a.gguf",
        tiny.model,
        lambda name: np.asarray(weights[name]),
        type="F32",
        tokenizer=sampler.tokenizer,
    )
    read = gm.text.Tokenizer.from_path(tmp_path / "a.gguf")
    plain = gm.text.Tokenizer.from_path(JSON)
    assert read.vocab_size == ROWS
    np.testing.assert_array_equal(read.vocabulary.kinds, plain.vocabulary.kinds)
    loaded = gm.text.Sampler.from_pretrained(tmp_path / "a.gguf", cache_length=48)
    found = loaded.generate([2, 30], max_new_tokens=4).token_ids
    assert found == sampler.generate([2, 30], max_new_tokens=4).token_ids
