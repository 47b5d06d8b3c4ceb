"""Configs refuse what no model can be."""

import dataclasses

import pytest

from gemma.gm.nn import (
    AttentionType,
    gemma1_config,
    gemma2_config,
    gemma3_config,
    repeat_pattern,
)

SIZES = {
    "num_layers": 3, "embed_dim": 16, "hidden_dim": 24, "num_heads": 4,
    "num_kv_heads": 2, "head_dim": 8,
}  # fmt: skip
LOCAL, GLOBAL = AttentionType.LOCAL, AttentionType.GLOBAL


@pytest.mark.parametrize("make", [gemma1_config, gemma2_config, gemma3_config])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_kv_heads": 3}, "4 query heads cannot share 3 key/value heads"),
        ({"head_dim": 7}, "head_dim is 7; rotation needs it even"),
    ],
)
def test_impossible_layers(make, change, message):
    with pytest.raises(ValueError, match=message):
        make(**SIZES | change)


def test_local_layer_needs_a_window():
    with pytest.raises(ValueError, match="window is 0; a local layer needs 1 or more"):
        gemma3_config(**SIZES, window=0)


def test_configs_are_values():
    config = gemma2_config(**SIZES)
    assert config == gemma2_config(**SIZES)
    assert hash(config) == hash(gemma2_config(**SIZES))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.vocab_size = 7


@pytest.mark.parametrize("num_layers", range(8))
def test_pattern_is_repeated_and_cut(num_layers):
    expected = [LOCAL, LOCAL, GLOBAL, LOCAL, LOCAL, GLOBAL, LOCAL, LOCAL]
    found = repeat_pattern((LOCAL, LOCAL, GLOBAL), num_layers)
    assert list(found) == expected[:num_layers]


def test_scale_is_the_heads_unless_stated():
    assert gemma2_config(**SIZES).layers[0].query_scale == 8**-0.5
    stated = gemma2_config(**SIZES, query_pre_attn_scalar=144)
    assert stated.layers[0].query_scale == 1 / 12


@pytest.mark.parametrize("length", [3, 7, 100])
@pytest.mark.parametrize("make", [gemma1_config, gemma2_config, gemma3_config])
def test_cache_bytes_is_what_a_cache_takes(make, length):
    from gemma.gm.nn import Transformer

    config = make(**SIZES) if make is gemma1_config else make(**SIZES, window=7)
    cache = Transformer(config).init_cache(batch_size=2, cache_length=length)
    taken = sum(
        layer["k"].nbytes + layer["v"].nbytes
        for name, layer in cache.items()
        if name != "end"
    )
    assert config.cache_bytes(length=length, batch_size=2) == taken
