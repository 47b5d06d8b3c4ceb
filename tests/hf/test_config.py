"""Configs with the fields and defaults of transformers."""

import json

import pytest

from gemma import gm
from gemma.gm.nn import CATALOG
from gemma.hf import (
    AutoConfig,
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GemmaConfig,
)


def test_defaults_are_those_of_the_published_models():
    assert GemmaConfig().transformer_config == CATALOG["Gemma1_7B"]
    assert Gemma2Config().transformer_config == CATALOG["Gemma2_2B"]


def test_fields_are_attributes():
    config = GemmaConfig(num_hidden_layers=3, hidden_size=64)
    assert (config.num_hidden_layers, config.hidden_size) == (3, 64)
    assert config.transformer_config.num_layers == 3
    assert config.model_type == "gemma"
    config.num_attention_heads = config.num_key_value_heads = 2
    assert config.transformer_config.layers[0].num_heads == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"torch_dtype": "bfloat16"}, {"dtype": "bfloat16"}),
        ({"hidden_act": "gelu"}, {"hidden_activation": "gelu"}),
    ],
)
def test_old_names_are_the_new_ones(old, new):
    assert GemmaConfig(**old) == GemmaConfig(**new)


def test_old_and_new_ways_to_say_theta():
    old = GemmaConfig(rope_theta=500.0).transformer_config
    parameters = {"rope_type": "default", "rope_theta": 500.0}
    assert old == GemmaConfig(rope_parameters=parameters).transformer_config
    assert old.layers[0].rope.theta == 500.0


def test_labels():
    assert GemmaConfig().num_labels == 2
    config = GemmaConfig(num_labels=3)
    assert config.id2label[2] == "LABEL_2"
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    named = GemmaConfig(id2label={0: "bad", 1: "good", 2: "best"})
    assert named.num_labels == 3
    assert named.label2id["best"] == 2
    named.num_labels = 1
    assert named.id2label == {0: "LABEL_0"}
    with pytest.raises(ValueError, match="num_labels is 2 and id2label has 1"):
        GemmaConfig(num_labels=2, id2label={0: "x"})


@pytest.mark.parametrize("kind", [GemmaConfig, Gemma2Config, Gemma3TextConfig])
def test_saved_and_loaded_is_the_same(kind, tmp_path):
    config = kind(num_hidden_layers=2, id2label={0: "a", 1: "b", 2: "c"})
    config.save_pretrained(tmp_path)
    assert kind.from_pretrained(tmp_path) == config
    assert AutoConfig.from_pretrained(tmp_path) == config
    changed = AutoConfig.from_pretrained(tmp_path, num_hidden_layers=4)
    assert changed.num_hidden_layers == 4


@pytest.mark.parametrize("name", ["gemma1_mqa", "gemma2_gqa", "gemma3_mqa"])
def test_config_of_a_checkpoint(name, tiny_model, tmp_path):
    tiny = tiny_model(name)
    gm.ckpts.save_model(tmp_path / "m", tiny.model, tiny.params)
    config = AutoConfig.from_pretrained(tmp_path / "m")
    assert config.transformer_config == tiny.model.config


def test_what_nobody_knows_is_kept(tmp_path):
    stated = GemmaConfig().to_dict() | {"transformers_version": "4.38.0"}
    (tmp_path / "config.json").write_text(json.dumps(stated))
    config = GemmaConfig.from_pretrained(tmp_path)
    assert config.to_dict()["transformers_version"] == "4.38.0"


def test_eyes_are_kept_as_they_are(tmp_path):
    text = {"num_hidden_layers": 3, "vocab_size": 262_208}
    config = Gemma3Config(text_config=text, vision_config={"image_size": 224})
    assert config.text_config.num_hidden_layers == 3
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(again, Gemma3Config)
    assert again.text_config == config.text_config
    assert again.vision_config == {"image_size": 224}


def test_misspelled_fields_are_refused():
    with pytest.raises(TypeError, match="Did you mean 'hidden_size'"):
        GemmaConfig(hiden_size=3)


def test_other_checkpoints_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"is not a checkpoint: it has no config\.json"
    ):
        AutoConfig.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ValueError, match="is a 'llama'; gemma, gemma2"):
        AutoConfig.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="The Auto classes find the right one"):
        GemmaConfig.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(ValueError, match="is not JSON"):
        AutoConfig.from_pretrained(tmp_path)
