"""Fields of config.json: each changes the config as it should, or is refused by name."""

import pytest

from gemma.gm.ckpts import CheckpointError, config_from_json, config_to_json
from gemma.gm.nn import CATALOG, RopeConfig

SIZES = {
    "vocab_size": 100, "hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "max_position_embeddings": 64,
}  # fmt: skip
ALL = ("gemma", "gemma2", "gemma3_text")
LATER = ALL[1:]
LOCAL, GLOBAL = "sliding_attention", "full_attention"
LINEAR = {"rope_type": "linear", "factor": 4.0}
NESTED = {LOCAL: {"rope_theta": 7.0}, GLOBAL: {"rope_theta": 9.0}}

REFUSED = [
    (ALL, {"is_causal": False}, "is_causal false"),
    (ALL, {"is_causal": None}, "is_causal null"),
    (ALL, {"attention_bias": True}, "attention_bias true"),
    (ALL, {"use_bidirectional_attention": True}, "use_bidirectional_attention true"),
    (ALL, {"use_bidirectional_attention": "all"}, 'use_bidirectional_attention "all"'),
    (ALL, {"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5"),
    (ALL, {"per_layer_config": {"0": {"head_dim": 16}}}, "per_layer_config"),
    (ALL, {"hidden_act": "relu"}, 'hidden_act "relu"'),
    # It was read from hidden_activation alone.
    (
        ALL,
        {"hidden_act": "relu", "hidden_activation": "gelu_pytorch_tanh"},
        'hidden_act "relu"',
    ),
    # The exact one; it was computed with the approximation.
    (LATER, {"hidden_activation": "gelu"}, 'hidden_activation "gelu"'),
    (ALL[2:], {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping 50.0"),
    (ALL[:1], {"layer_types": [LOCAL, GLOBAL]}, "layer_types names others"),
    (LATER, {"layer_types": [LOCAL, "local"]}, "layer_types has 'local', none of"),
    (LATER, {"sliding_window": None}, "sliding_window is None"),
    (LATER, {"query_pre_attn_scalar": None}, "query_pre_attn_scalar is None"),
    (LATER, {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar is 0"),
    (LATER, {"_sliding_window_pattern": 3}, "_sliding_window_pattern is 3"),
    (ALL[1:2], {"sliding_window_pattern": 3}, "sliding_window_pattern is 3"),
    (ALL[2:], {"sliding_window_pattern": 0}, "sliding_window_pattern is 0"),
    (ALL[:2], {"rope_parameters": NESTED}, "which only Gemma 3 has"),
    # transformers reads none of it, and this library read it for all layers.
    (ALL[2:], {"rope_parameters": {"rope_theta": 5.0}}, "rope_parameters has 'rope_t"),
    (ALL, {"rope_scaling": {"factor": 4.0}}, "rope factor 4.0 needs"),
    (ALL, {"rope_scaling": LINEAR | {"partial_rotary_factor": 0.5}}, "partial_rotary"),
    (ALL, {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "'dynamic'"),
]


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [(kind, *case) for kinds, *case in REFUSED for kind in kinds],
)
def test_what_would_change_numbers_is_refused_by_name(kind, fields, message):
    read({"model_type": kind})
    with pytest.raises(CheckpointError, match=message):
        read({"model_type": kind} | fields)


ROPES = [
    ("gemma", {"rope_parameters": {"rope_type": "default"}}, [(1e4, 1)]),
    ("gemma", {"rope_parameters": LINEAR, "rope_theta": 7.0}, [(7, 4)]),
    # rope_scaling counts, with the base at the top or in it.
    ("gemma", {"rope_parameters": {"rope_theta": 5.0}, "rope_scaling": LINEAR},
     [(1e4, 4)]),
    ("gemma2", {"rope_theta": 5.0, "rope_scaling": LINEAR | {"rope_theta": 6.0}},
     [(6, 4)]),
    ("gemma3_text", {"rope_parameters": {GLOBAL: {"rope_theta": 9.0}}},
     [(1e4, 1), (9, 1)]),
    ("gemma3_text", {"rope_parameters": {LOCAL: {"rope_theta": 9.0}, GLOBAL: None}},
     [(9, 1), (1e6, 1)]),
    ("gemma3_text", {"rope_parameters": NESTED, "rope_scaling": LINEAR},
     [(7, 1), (9, 4)]),
    ("gemma3_text", {"rope_parameters": {LOCAL: {}}, "rope_local_base_freq": 3.0},
     [(3, 1), (1e6, 1)]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "fields", "expected"), ROPES)
def test_rotary_positions_are_filled_in_as_in_transformers(kind, fields, expected):
    types = {} if kind == "gemma" else {"layer_types": [LOCAL, GLOBAL]}
    config = read({"model_type": kind} | types | fields)
    ropes = [RopeConfig(theta=theta, factor=factor) for theta, factor in expected]
    assert [layer.rope for layer in config.layers] == (ropes * 2)[:2]


def test_a_model_without_local_layers_needs_no_window():
    fields = {"model_type": "gemma3_text", "sliding_window": None}
    config = read(fields | {"layer_types": [GLOBAL] * 2})
    assert not any(layer.is_local for layer in config.layers)


def test_both_names_of_the_image_token_are_read():
    stated = config_to_json(CATALOG["Gemma3_4B"], "float32")
    stated.pop("image_token_index")
    config = config_from_json(stated | {"image_token_id": 7}, "config.json")
    assert config.vision is not None
    assert config.vision.soft_token == 7


def test_images_have_three_channels():
    stated = config_to_json(CATALOG["Gemma3_4B"], "float32")
    stated["vision_config"]["num_channels"] = 1
    with pytest.raises(CheckpointError, match="num_channels is 1"):
        config_from_json(stated, "config.json")


def read(fields):
    return config_from_json(SIZES | fields, "config.json")
