"""Answers stop at what the files of a checkpoint name and what the family does."""

import json
from pathlib import Path

import pytest

from gemma import gm

DATA = Path(__file__).parents[2] / "data"
JSON = DATA / "tiny_tokenizer.json"
FAMILY = {1, 6}  # <eos> and <end_of_turn>


def write(folder: Path, **files) -> Path:
    (folder / "tokenizer.json").write_bytes(JSON.read_bytes())
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), "utf-8")
    return folder


@pytest.mark.parametrize(
    ("generation", "config", "more"),
    [
        ({}, {}, set()),
        (
            {"eos_token_id": [1, 50, 6]},
            {"eos_token_id": [1, 50]},
            {50},
        ),  # FunctionGemma
        ({"eos_token_id": 1}, {"eos_token_id": 6}, set()),
        ({"eos_token_id": None}, {"eos_token_id": [7]}, {7}),
    ],
)
def test_of_a_folder(tmp_path, generation, config, more):
    folder = write(tmp_path, generation_config=generation, config=config)
    assert set(gm.text.Tokenizer.from_path(folder).stop_ids) == FAMILY | more


@pytest.mark.parametrize(
    ("stated", "more"),
    [
        ({}, set()),
        ({"eos_token_id": 6}, set()),  # early files of instruction-tuned Gemma 3
        ({"eos_token_id": 1, "eot_token_id": 50}, {50}),
        ({"eom_token_id": 51}, {51}),
    ],
)
def test_of_a_gguf_file(tiny_tokenizer, stated, more):
    """A file that names the end of a turn as the end of a text stops at both."""
    vocabulary = tiny_tokenizer.vocabulary
    metadata = {
        "tokenizer.ggml.tokens": vocabulary.pieces,
        "tokenizer.ggml.scores": vocabulary.scores,
        "tokenizer.ggml.token_type": vocabulary.kinds,
        **{f"tokenizer.ggml.{key}": value for key, value in stated.items()},
    }
    tokenizer = gm.text.Tokenizer.from_metadata(metadata, "a.gguf")
    assert set(tokenizer.stop_ids) == FAMILY | more


def test_an_answer_ends_there(tiny_folder, tmp_path):
    sampler = gm.text.Sampler.from_pretrained(tiny_folder("gemma3_mqa"))
    token = sampler.generate([2, 30], max_new_tokens=8).token_ids[3]
    for file in tiny_folder("gemma3_mqa").iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "generation_config.json").write_text(
        json.dumps({"eos_token_id": [1, token]}), "utf-8"
    )
    answer = gm.text.Sampler.from_pretrained(tmp_path).generate(
        [2, 30], max_new_tokens=8
    )
    assert answer.token_ids[-1] == token
    assert answer.finish_reason == "stop"


@pytest.mark.parametrize("value", ["<eos>", 1.5, [True], -1])
def test_nonsense_is_refused_by_file(tmp_path, value):
    folder = write(tmp_path, generation_config={"eos_token_id": value})
    with pytest.raises(gm.ckpts.CheckpointError, match="generation_config"):
        gm.text.Tokenizer.from_path(folder)


@pytest.mark.parametrize("value", ["warm", float("nan"), True])
def test_sampling_that_is_no_number_is_refused(tmp_path, value):
    stated = {"do_sample": True, "temperature": value}
    folder = write(tmp_path, generation_config=stated)
    with pytest.raises(gm.ckpts.CheckpointError, match=r"temperature .* finite number"):
        gm.ckpts.read_generation_defaults(folder)


def test_recommended_sampling_is_read(tmp_path):
    stated = {"do_sample": True, "top_k": 64, "top_p": 0.95}
    folder = write(tmp_path, generation_config=stated)
    found = gm.ckpts.read_generation_defaults(folder).sampling
    assert found == {"temperature": 1.0, "top_k": 64, "top_p": 0.95}
    write(tmp_path, generation_config=stated | {"do_sample": False})
    assert gm.ckpts.read_generation_defaults(folder).sampling == {}


def test_a_git_lfs_pointer_says_so(tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    (tmp_path / "tokenizer.json").write_bytes(pointer)
    with pytest.raises(ValueError, match="is a git-LFS pointer"):
        gm.text.Tokenizer.from_path(tmp_path)
