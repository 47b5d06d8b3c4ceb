"""The published sizes."""

import dataclasses

import pytest

from gemma.gm import nn
from gemma.gm.weights import num_params

# Parameters in billions, as DeepMind's own library counts them, and how many rows more
# than we its embedding has: it pads the 256,000 of Gemma 1 and 2, and leaves out the
# 64 that the multimodal checkpoints of Gemma 3 add to 262,144.
PUBLISHED = {
    "Gemma1_2B": (2.506, 128),
    "Gemma1_7B": (8.538, 128),
    "Gemma2_2B": (2.615, 128),
    "Gemma2_9B": (9.242, 128),
    "Gemma2_27B": (27.228, 128),
    "Gemma3_270M": (0.268, 0),
    "Gemma3_1B": (1.000, 0),
    "Gemma3_4B": (3.880, -64),
    "Gemma3_12B": (11.766, -64),
    "Gemma3_27B": (27.009, -64),
}


@pytest.mark.parametrize("name", nn.CATALOG)
def test_number_of_parameters(name):
    model = nn.Transformer(dataclasses.replace(nn.CATALOG[name], vision=None))
    billions, more_rows = PUBLISHED[name]
    count = num_params(model.specs()) + more_rows * model.config.embed_dim
    assert round(count / 1e9, 3) == billions


# As Hugging Face counts them, tower and projector included.
@pytest.mark.parametrize(
    ("name", "billions"),
    [("Gemma3_4B", 4.30), ("Gemma3_12B", 12.19), ("Gemma3_27B", 27.43)],
)
def test_number_of_parameters_with_eyes(name, billions):
    make = getattr(nn, name)
    assert round(num_params(make().specs()) / 1e9, 2) == billions
    assert make(text_only=True).config.vision is None


@pytest.mark.parametrize(
    ("name", "global_layers"),
    [
        ("Gemma1_2B", list(range(18))),
        ("Gemma2_2B", list(range(1, 26, 2))),
        ("Gemma3_270M", [5, 11, 17]),
        ("Gemma3_1B", [5, 11, 17, 23]),
        ("Gemma3_4B", [5, 11, 17, 23, 29]),
    ],
)
def test_which_layers_are_global(name, global_layers):
    layers = nn.CATALOG[name].layers
    assert [i for i, layer in enumerate(layers) if not layer.is_local] == global_layers


@pytest.mark.parametrize(
    ("name", "scalar"),
    [("Gemma2_9B", 256), ("Gemma2_27B", 144), ("Gemma3_12B", 256), ("Gemma3_27B", 168)],
)
def test_attention_scale(name, scalar):
    assert nn.CATALOG[name].layers[0].query_scale == scalar**-0.5


def test_only_global_layers_of_large_gemma3_are_stretched():
    for name, config in nn.CATALOG.items():
        large = name in ("Gemma3_4B", "Gemma3_12B", "Gemma3_27B")
        for layer in config.layers:
            assert layer.rope.factor == (8.0 if large and not layer.is_local else 1.0)


def test_softcaps_are_those_of_gemma2():
    for config in nn.CATALOG.values():
        caps = {(layer.attn_softcap, config.final_softcap) for layer in config.layers}
        assert caps == {(50.0, 30.0) if config.family == "gemma2" else (None, None)}


def test_cache_is_small_where_layers_are_local():
    """5 of 6 layers of Gemma 3 270M keep 512 tokens; 32,768 would take six times more."""
    config = nn.CATALOG["Gemma3_270M"]
    token = 2 * 4 * 256  # keys and values of one head, float32
    expected = token * (15 * 512 + 3 * 32_768)
    assert config.cache_bytes(length=32_768) == expected
