"""Saving: a folder is whole or absent."""

import json

import pytest

from gemma.gm.ckpts import load_model, save_model


@pytest.fixture
def tiny(tiny_model):
    return tiny_model("gemma2_gqa")


def test_folder_that_exists_is_left_alone(tiny, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("x")
    with pytest.raises(FileExistsError, match=r"mine exists\. Choose another name"):
        save_model(tmp_path / "mine", tiny.model, tiny.params)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["precious"]


def test_parents_are_made(tiny, tmp_path):
    save_model(tmp_path / "a" / "b", tiny.model, tiny.params)
    assert load_model(tmp_path / "a" / "b")[0].config == tiny.model.config


def test_failure_leaves_nothing_behind(tiny, tmp_path):
    params = {k: v for k, v in tiny.params.items() if k != "final_norm"}
    with pytest.raises(ValueError, match="The params lack 'final_norm', which a gemma"):
        save_model(tmp_path / "m", tiny.model, params)
    assert list(tmp_path.iterdir()) == []


def test_others_may_read_the_folder(tiny, tmp_path):
    """It has the rights that any new folder has."""
    save_model(tmp_path / "m", tiny.model, tiny.params)
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "m").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_tokenizer_comes_along(tiny, tmp_path):
    save_model(tmp_path / "a", tiny.model, tiny.params)
    (tmp_path / "a" / "tokenizer.json").write_text("{}")
    (tmp_path / "a" / "chat_template.jinja").write_text("hi")
    (tmp_path / "a" / "diary.txt").write_text("private")
    save_model(tmp_path / "b", *load_model(tmp_path / "a"))
    assert (tmp_path / "b" / "tokenizer.json").read_text() == "{}"
    assert (tmp_path / "b" / "chat_template.jinja").exists()
    assert not (tmp_path / "b" / "diary.txt").exists()


def test_config_says_the_dtype_of_the_weights(tiny, tmp_path):
    for dtype in ("float32", "bfloat16"):
        save_model(tmp_path / dtype, tiny.model, tiny.params, dtype=dtype)
        stated = json.loads((tmp_path / dtype / "config.json").read_text())
        assert stated["dtype"] == dtype
        assert stated["architectures"] == ["Gemma2ForCausalLM"]
