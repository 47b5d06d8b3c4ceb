"""What is saved is what was loaded, and what was changed since."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

from gemma import hf

IDS = np.array([[2, 31, 77, 9, 140, 12]])


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A folder that recommends how to draw."""
    lm = hf.GemmaForCausalLM.from_pretrained(tiny_folder("gemma1_mqa"))
    lm.save_pretrained(tmp_path / "from")
    stated = {"eos_token_id": [1, 6], "do_sample": True, "temperature": 0.5}
    stated |= {"top_k": 7, "cache_implementation": "hybrid"}
    (tmp_path / "from/generation_config.json").write_text(json.dumps(stated))
    return tmp_path / "from"


def settings(folder):
    return json.loads((folder / "generation_config.json").read_text())


def test_settings_of_answers_stay(folder, tmp_path):
    before = settings(folder)
    hf.AutoModelForCausalLM.from_pretrained(folder).save_pretrained(tmp_path / "to")
    assert settings(tmp_path / "to") == before


def test_changed_settings_of_answers_are_written(folder, tmp_path):
    lm = hf.AutoModelForCausalLM.from_pretrained(folder)
    lm.generation_config.temperature = 0.25
    lm.generation_config.eos_token_id = np.array([1, 6, 9])
    lm.generation_config.top_k = 50  # the default of transformers
    lm.generation_config.max_new_tokens = 3
    lm.save_pretrained(tmp_path / "to")
    assert settings(tmp_path / "to") == {
        "eos_token_id": [1, 6, 9],
        "do_sample": True,
        "temperature": 0.25,
        "cache_implementation": "hybrid",
        "max_new_tokens": 3,
    }
    again = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "to")
    assert again.generation_config.stop_ids == [1, 6, 9]
    assert again.generate(IDS).shape[1] <= IDS.shape[1] + 3
    again.save_pretrained(folder)  # over what was there
    assert settings(folder) == settings(tmp_path / "to")


def test_settings_of_a_model_that_was_made(tmp_path):
    config = hf.GemmaConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=1, head_dim=8,
        num_attention_heads=2, num_key_value_heads=1, vocab_size=100, eos_token_id=7,
    )  # fmt: skip
    hf.GemmaForCausalLM(config).save_pretrained(tmp_path)
    assert settings(tmp_path)["eos_token_id"] == 7


def test_labels_of_a_config_with_eyes_are_those_of_its_text():
    config = hf.Gemma3Config(
        id2label={0: "a", 1: "b", 2: "c"}, problem_type="regression"
    )
    text = hf.Gemma3TextConfig.from_dict(
        hf.Gemma3TextConfig.own(json.loads(json.dumps(config.to_dict())), "a folder")
    )
    assert text.id2label == {0: "a", 1: "b", 2: "c"}
    assert (text.num_labels, text.problem_type) == (3, "regression")


def test_a_language_model_does_not_drop_the_scores_of_a_classifier(folder, tmp_path):
    with pytest.warns(UserWarning, match="random"):
        labelled = hf.GemmaForSequenceClassification.from_pretrained(folder)
    labelled.save_pretrained(tmp_path / "labelled")
    lm = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "labelled")
    with pytest.raises(ValueError, match=r"scores of a classifier.*GemmaForCausalLM"):
        lm.save_pretrained(tmp_path / "labelled")
    again = hf.GemmaForSequenceClassification.from_pretrained(tmp_path / "labelled")
    np.testing.assert_array_equal(
        again(IDS).logits, labelled(IDS).logits, "nothing was written"
    )
    lm.save_pretrained(tmp_path / "text")
    labelled.save_pretrained(tmp_path / "text")  # a part more is no loss
    with pytest.raises(ValueError, match="scores"):
        lm.model.save_pretrained(tmp_path / "text")


def test_a_text_model_does_not_drop_a_vision_encoder(tmp_path):
    vision = {
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 28, "patch_size": 7,
    }  # fmt: skip
    text = {
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
        "vocab_size": 100, "sliding_window": 8,
    }  # fmt: skip
    config = hf.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4,
        image_token_index=99,
    )  # fmt: skip
    hf.Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"vision encoder.*ForConditionalGeneration"):
        hf.Gemma3ForCausalLM.from_pretrained(tmp_path).save_pretrained(tmp_path)


def test_saving_onto_a_link_to_another_disk(folder, tmp_path):
    disk = Path("/dev/shm")
    if not disk.is_dir() or disk.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("There is no second disk.")
    lm = hf.AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    with tempfile.TemporaryDirectory(dir=disk) as there:
        (tmp_path / "link").symlink_to(there)
        lm.save_pretrained(tmp_path / "link")
        tokenizer.save_pretrained(tmp_path / "link")
        again = hf.AutoModelForCausalLM.from_pretrained(there, dtype="float32")
        assert np.array_equal(again(IDS).logits, lm(IDS).logits)
        assert not [path for path in Path(there).iterdir() if path.name[0] == "."]
