"""What stands beside the weights goes along, whatever the format was."""

import json

import pytest

from gemma import gm
from gemma.gm import ckpts

TEXTS = [
    "Hello  world\n\n\t",
    "<start_of_turn>user\nHi<end_of_turn>\n",
    "é😀" + " " * 40,
]
TEMPLATE = "{{ bos_token }}{{ messages[0]['content'] }}"


@pytest.fixture
def gguf(tiny_model, tiny_tokenizer, tmp_path):
    tiny = tiny_model("gemma3_mqa")
    weights = gm.weights.flatten(tiny.params)
    path = tmp_path / "model.gguf"
    ckpts.save_gguf(
        path,
        tiny.model,
        lambda name: weights[name].__array__(),
        tokenizer=tiny_tokenizer,
        chat_template=TEMPLATE,
        metadata={"general.sampling.temp": 0.5, "tokenizer.ggml.eot_token_id": 6},
    )
    return path


def test_a_gguf_file_becomes_a_folder_with_a_tokenizer(gguf, tiny_tokenizer, tmp_path):
    model, params = ckpts.load_model(gguf)
    ckpts.save_model(tmp_path / "folder", model, params)
    found = gm.text.Tokenizer.from_path(tmp_path / "folder")
    for text in TEXTS:
        assert found.encode(text) == tiny_tokenizer.encode(text)
    assert set(found.stop_ids) == set(gm.text.Tokenizer.from_path(gguf).stop_ids)
    assert (tmp_path / "folder/chat_template.jinja").read_text() == TEMPLATE
    stated = json.loads((tmp_path / "folder/generation_config.json").read_text())
    assert (stated["do_sample"], stated["temperature"]) == (True, 0.5)


def test_tokenizer_json_has_the_ids_and_the_kinds(tiny_tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(ckpts.tokenizer_json(tiny_tokenizer.vocabulary))
    found = gm.text.Tokenizer.from_path(path)
    for text in TEXTS:
        assert found.encode(text) == tiny_tokenizer.encode(text)
    assert found.vocabulary.pieces == tiny_tokenizer.vocabulary.pieces
    assert found.vocabulary.kinds.tolist() == tiny_tokenizer.vocabulary.kinds.tolist()
