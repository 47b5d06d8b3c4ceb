"""config.json of several styles and ages."""

import json

import pytest

from gemma.gm.ckpts import CheckpointError, load_config, save_model
from gemma.gm.ckpts._names_huggingface import config_from_json, config_to_json
from gemma.gm.nn import (
    CATALOG,
    AttentionType,
    RopeConfig,
    gemma1_config,
    gemma2_config,
    gemma3_config,
)

SIZES = {
    "vocab_size": 100, "hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 7, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
}  # fmt: skip
OURS = {
    "vocab_size": 100, "embed_dim": 32, "hidden_dim": 48, "num_layers": 7,
    "num_heads": 4, "num_kv_heads": 2, "head_dim": 8, "max_positions": 64,
    "norm_eps": 1e-5,
}  # fmt: skip
LOCAL, GLOBAL = AttentionType.LOCAL, AttentionType.GLOBAL
LAYER_TYPES = ["sliding_attention"] * 5 + ["full_attention", "sliding_attention"]

# The same three models in the words of transformers 4, as on the Hub, and of 5.
FLAT = {
    "gemma": SIZES | {"model_type": "gemma", "rope_theta": 5000.0},
    "gemma2": SIZES
    | {
        "model_type": "gemma2", "rope_theta": 5000.0, "query_pre_attn_scalar": 6,
        "sliding_window": 5, "attn_logit_softcapping": 20.0,
        "final_logit_softcapping": 10.0, "cache_implementation": "hybrid",
    },
    "gemma3": SIZES
    | {
        "model_type": "gemma3_text", "rope_theta": 5e5, "rope_local_base_freq": 5000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "query_pre_attn_scalar": 6, "sliding_window": 5, "sliding_window_pattern": 6,
        "attn_logit_softcapping": None, "final_logit_softcapping": None,
    },
}  # fmt: skip
NESTED = {
    "gemma": SIZES
    | {
        "model_type": "gemma",
        "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0},
    },
    "gemma2": {k: v for k, v in FLAT["gemma2"].items() if k != "rope_theta"}
    | {
        "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0},
        "layer_types": ["sliding_attention", "full_attention"] * 3
        + ["sliding_attention"],
    },
    "gemma3": {k: v for k, v in FLAT["gemma3"].items() if not k.startswith("rope")}
    | {
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e5},
            "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
        },
        "layer_types": LAYER_TYPES,
    },
}
EXPECTED = {
    "gemma": gemma1_config(**OURS, rope_theta=5000.0),
    "gemma2": gemma2_config(
        **OURS, rope_theta=5000.0, query_pre_attn_scalar=6, window=5,
        attn_softcap=20.0, final_softcap=10.0,
    ),
    "gemma3": gemma3_config(
        **OURS, query_pre_attn_scalar=6, window=5,
        global_rope=RopeConfig(theta=5e5, factor=8.0),
        local_rope=RopeConfig(theta=5000.0),
    ),
}  # fmt: skip
FAMILIES = list(EXPECTED)


def read(fields):
    return config_from_json(fields, "config.json")


@pytest.mark.parametrize("family", FAMILIES)
def test_both_styles_say_the_same(family):
    assert read(FLAT[family]) == read(NESTED[family]) == EXPECTED[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_written_is_read_back(family):
    written = json.loads(json.dumps(config_to_json(EXPECTED[family], "float32")))
    assert read(written) == EXPECTED[family]


@pytest.mark.parametrize("name", CATALOG)
def test_published_models_are_written_and_read_back(name):
    assert read(config_to_json(CATALOG[name], "bfloat16")) == CATALOG[name]


LINEAR = {"rope_type": "linear", "factor": 4.0}
ROPES = {
    "as transformers 4": {"rope_theta": 5e3, "rope_scaling": LINEAR},
    "older": {"rope_theta": 5e3, "rope_scaling": {"type": "linear", "factor": 4.0}},
    "as transformers 5": {"rope_parameters": LINEAR | {"rope_theta": 5e3}},
}


@pytest.mark.parametrize("style", ROPES)
@pytest.mark.parametrize("family", ["gemma", "gemma2"])
def test_linear_scaling_of_gemma_1_and_2_is_honoured_and_written(family, style):
    config = read(SIZES | {"model_type": family} | ROPES[style])
    expected = RopeConfig(theta=5e3, factor=4.0)
    assert {layer.rope for layer in config.layers} == {expected}
    assert read(config_to_json(config, "float32")) == config


def test_linear_scaling_of_local_layers_is_written():
    rope = RopeConfig(theta=5e3, factor=4.0)
    config = gemma3_config(**OURS, local_rope=rope)
    assert read(config_to_json(config, "float32")) == config


def test_a_model_without_local_layers_is_read_back():
    config = gemma3_config(**OURS, attention_types=(GLOBAL,) * 7)
    assert read(config_to_json(config, "float32")) == config


@pytest.mark.parametrize("style", [FLAT, NESTED], ids=["flat", "nested"])
def test_text_side_of_a_multimodal_config(style):
    for text in (style["gemma3"], {**style["gemma3"], "model_type": None}):
        text = {k: v for k, v in text.items() if v is not None or k != "model_type"}
        assert read({"model_type": "gemma3", "text_config": text}) == EXPECTED["gemma3"]


def test_published_multimodal_config_leaves_most_fields_out():
    """Gemma 3 4B, as on the Hub."""
    text = {
        "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
        "num_hidden_layers": 34, "sliding_window": 1024,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    }  # fmt: skip
    eyes = {
        "hidden_size": 1152, "image_size": 896, "intermediate_size": 4304,
        "model_type": "siglip_vision_model", "num_attention_heads": 16,
        "num_hidden_layers": 27, "patch_size": 14, "vision_use_head": False,
    }  # fmt: skip
    whole = {"model_type": "gemma3", "text_config": text, "vision_config": eyes}
    assert read(whole) == CATALOG["Gemma3_4B"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "clip_vision_model"}, "vision_config is a clip_vision_model"),
        ({"hidden_act": "quick_gelu"}, "siglip_vision_model with quick_gelu"),
        ({"image_size": 2**40}, "image_size is 1099511627776"),
        ({"patch_size": 0}, "patch_size is 0"),
        ({"image_size": 225}, "225 rows cannot be cut into patches of 16 evenly"),
    ],
)
def test_eyes_that_cannot_be_are_refused(change, message):
    stated = config_to_json(CATALOG["Gemma3_4B"], "float32")
    eyes = {"image_size": 224, "patch_size": 16} | change
    with pytest.raises(CheckpointError, match=message):
        read(stated | {"vision_config": stated["vision_config"] | eyes})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "llama"}, "architecture 'llama'; gemma, gemma2, gemma3 and"),
        ({}, "architecture None"),
        ({"model_type": ["gemma"]}, "architecture .'gemma'."),
        (FLAT["gemma"] | {"hidden_act": "silu"}, 'has hidden_act "silu", which is'),
        (
            FLAT["gemma2"] | {"attention_bias": True},
            "has attention_bias true, which is not",
        ),
        (
            FLAT["gemma3"] | {"use_bidirectional_attention": True},
            "has use_bidirectional_attention",
        ),
        (
            FLAT["gemma3"] | {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}},
            "rope type 'yarn' is none of",
        ),
        (
            FLAT["gemma3"] | {"rope_scaling": {"rope_type": "linear"}},
            "does not describe a Gemma: 'factor'",
        ),
        (
            FLAT["gemma2"] | {"layer_types": ["full_attention"]},
            "layer_types has 1 entries for 7 layers",
        ),
        (
            FLAT["gemma2"] | {"layer_types": ["chunked_attention"] * 7},
            "layer_types has 'chunked_attention', none of",
        ),
        (
            FLAT["gemma2"] | {"num_key_value_heads": 3},
            "4 query heads cannot share 3 key/value heads",
        ),
        (FLAT["gemma2"] | {"sliding_window": None}, "does not describe a Gemma"),
        (FLAT["gemma2"] | {"sliding_window": 0}, "window is 0"),
        (
            {"model_type": "gemma3", "text_config": 7},
            "does not describe a Gemma: text_config",
        ),
        (FLAT["gemma3"] | {"rope_parameters": [1]}, "does not describe a Gemma"),
        (FLAT["gemma3"] | {"rope_scaling": "x"}, "does not describe a Gemma"),
        (FLAT["gemma3"] | {"layer_types": 7}, "does not describe a Gemma"),
    ],
)
def test_what_cannot_be_read_is_refused(fields, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        read(fields)
    assert str(caught.value).startswith("config.json ")


@pytest.mark.parametrize("value", [0, -1, 10**12, 2.5, "8", None, [8]])
@pytest.mark.parametrize("field", [name for name in SIZES if name != "rms_norm_eps"])
def test_absurd_sizes_are_refused(field, value):
    with pytest.raises(CheckpointError, match="must be a whole number from 1 to"):
        read(FLAT["gemma3"] | {field: value})


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "null", b"\xff\xfe"])
def test_config_that_is_no_object(content, tiny_model, tmp_path):
    tiny = tiny_model("gemma1_mqa")
    save_model(tmp_path / "m", tiny.model, tiny.params)
    if isinstance(content, str):
        content = content.encode()
    (tmp_path / "m" / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_config(tmp_path / "m")
