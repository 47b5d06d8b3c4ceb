"""What shapes say of a model, and what published models add."""

import jax
import jax.numpy as jnp
import pytest

from gemma import gm
from gemma.transformer import TransformerConfig


def shapes_of(config: gm.nn.TransformerConfig):
    """Returns the tree of a model as shapes; nothing is allocated."""
    model = gm.nn.Transformer(config)
    return jax.eval_shape(
        lambda key: gm.ckpts.to_deepmind(model.init(key), config), jax.random.key(0)
    )


def leaf(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.bfloat16)


def test_config_of_the_shapes_of_2b():
    """The shapes as the published checkpoint has them, written down by hand."""
    layer = {
        "attn": {
            "q_einsum": {"w": leaf(8, 2048, 256)},
            "kv_einsum": {"w": leaf(2, 1, 2048, 256)},
            "attn_vec_einsum": {"w": leaf(8, 256, 2048)},
        },
        "mlp": {"gating_einsum": leaf(2, 2048, 16384), "linear": leaf(16384, 2048)},
        "pre_attention_norm": {"scale": leaf(2048)},
        "pre_ffw_norm": {"scale": leaf(2048)},
    }
    tree = {
        "embedder": {"input_embedding": leaf(256128, 2048)},
        **{f"layer_{i}": layer for i in range(18)},
        "final_norm": {"scale": leaf(2048)},
    }
    config = TransformerConfig.from_params({"transformer": tree}, cache_size=30)
    assert config == TransformerConfig(
        num_layers=18,
        num_embed=256128,
        embed_dim=2048,
        hidden_dim=16384,
        num_heads=8,
        head_dim=256,
        num_kv_heads=1,
        max_cache_length=30,
    )
    assert config == TransformerConfig.gemma_2b(cache_size=30)


def test_config_of_the_shapes_of_7b():
    """The shapes as the published checkpoint has them, written down by hand."""
    layer = {
        "attn": {
            "qkv_einsum": {"w": leaf(3, 16, 3072, 256)},
            "attn_vec_einsum": {"w": leaf(16, 256, 3072)},
        },
        "mlp": {"gating_einsum": leaf(2, 3072, 24576), "linear": leaf(24576, 3072)},
        "pre_attention_norm": {"scale": leaf(3072)},
        "pre_ffw_norm": {"scale": leaf(3072)},
    }
    tree = {
        "embedder": {"input_embedding": leaf(256128, 3072)},
        **{f"layer_{i}": layer for i in range(28)},
        "final_norm": {"scale": leaf(3072)},
    }
    config = TransformerConfig.from_params({"transformer": tree})
    assert config == TransformerConfig.gemma_7b(cache_size=1024)
    assert (config.num_kv_heads, config.max_cache_length) == (16, 1024)


@pytest.mark.parametrize("name", gm.nn.CATALOG)
def test_published_models_are_known_by_their_shapes(name):
    published = TransformerConfig.of(gm.nn.CATALOG[name])
    tree = shapes_of(published.gm)
    config = TransformerConfig.from_params({"transformer": tree})
    assert config == published
    assert config.gm.vision is None


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (TransformerConfig.gemma2_2b, "Gemma2_2B"),
        (TransformerConfig.gemma2_9b, "Gemma2_9B"),
        (TransformerConfig.gemma2_27b, "Gemma2_27B"),
        (TransformerConfig.gemma3_1b, "Gemma3_1B"),
        (TransformerConfig.gemma3_4b, "Gemma3_4B"),
        (TransformerConfig.gemma3_12b, "Gemma3_12B"),
        (TransformerConfig.gemma3_27b, "Gemma3_27B"),
    ],
)
def test_named_configs_are_the_published_models(make, name):
    config, published = make(cache_size=77), gm.nn.CATALOG[name]
    assert config.max_cache_length == 77
    assert config.gm.layers == published.layers
    assert config.num_embed == (256128 if name.startswith("Gemma2") else 262144)


def test_other_sizes_have_the_defaults_of_their_family():
    config = gm.nn.gemma3_config(
        num_layers=7, embed_dim=16, hidden_dim=24, num_heads=2, num_kv_heads=1,
        head_dim=8, vocab_size=50,
    )  # fmt: skip
    params = {"transformer": shapes_of(config)}
    assert TransformerConfig.from_params(params).gm == config


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"layer_0": {}}, "takes the whole tree.*found the entries layer_0"),
        ({}, "found the entries of an empty tree"),
        ({"transformer": {"layer_0": {}}}, "holds no Gemma: array 'embedder/"),
    ],
)
def test_config_of_something_else(params, message):
    with pytest.raises(ValueError, match=message):
        TransformerConfig.from_params(params)


def test_layer_that_is_missing_in_the_middle(tiny_model):
    tiny = tiny_model("gemma3_mqa")
    tree = gm.ckpts.to_deepmind(tiny.params, tiny.model.config)
    del tree["layer_3"]
    with pytest.raises(ValueError, match="lack 'layer_3/"):
        TransformerConfig.from_params({"transformer": tree})


def test_config_that_contradicts_its_architecture(gemma1):
    with pytest.raises(ValueError, match=r"config says.*'num_layers': 3"):
        TransformerConfig(
            num_layers=3,
            num_embed=480,
            embed_dim=32,
            hidden_dim=48,
            num_heads=4,
            head_dim=8,
            num_kv_heads=1,
            architecture=gemma1.ours.model.config,
        )


def test_cache_of_no_columns(gemma1):
    with pytest.raises(ValueError, match="max_cache_length is 0; it must be 1 or more"):
        TransformerConfig.of(gemma1.ours.model.config, cache_size=0)
