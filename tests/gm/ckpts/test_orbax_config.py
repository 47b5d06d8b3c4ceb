"""The config of a directory that states none: from the names and shapes of arrays."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

pytest.importorskip("orbax.checkpoint")

from orbax_trees import EYES, flat_tree, nested_tree

from gemma.gm.ckpts import CheckpointError
from gemma.gm.ckpts._names_orbax import find_spelling
from gemma.gm.ckpts._orbax_config import config_from_shapes
from gemma.gm.nn import CATALOG, RopeConfig, Transformer, gemma2_config, gemma3_config
from gemma.gm.weights import flatten

SIZES = {
    "num_layers": 3, "embed_dim": 24, "hidden_dim": 40, "num_heads": 4,
    "num_kv_heads": 2, "head_dim": 16, "vocab_size": 50,
}  # fmt: skip
# Their table has rows of its own, and only these models the other orientation.
ROWS = {"gemma": 256_128, "gemma2": 256_128, "gemma3": 262_144}
GATE_LAST = ("Gemma1_2B", "Gemma1_7B", "Gemma2_2B")


def flat_shapes(config, *, gate_first: bool = True) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a flat tree, of which nothing is made."""

    def make(key):
        params = Transformer(config).init(key)
        return nested_tree(params, config, gate_first=gate_first, xp=jnp)

    arrays = flatten(flat_tree(jax.eval_shape(make, jax.random.key(0))))
    return {name: array.shape for name, array in arrays.items()}


def config_of(shapes):
    return config_from_shapes(shapes, find_spelling(shapes, "there"), "there")


@pytest.mark.parametrize("name", CATALOG)
def test_published_models_are_recognised(name):
    config = dataclasses.replace(CATALOG[name], vocab_size=ROWS[CATALOG[name].family])
    assert config_of(flat_shapes(config, gate_first=name not in GATE_LAST)) == config


def test_published_model_without_eyes_is_recognised():
    config = dataclasses.replace(CATALOG["Gemma3_4B"], vision=None)
    assert config_of(flat_shapes(config)) == config


def test_shapes_of_the_first_release():
    """Those of the 2B and the 7B, as they were published."""
    layer = "transformer/layer_0/"
    shapes = flat_shapes(CATALOG["Gemma1_2B"], gate_first=False)
    assert shapes[f"{layer}attn/q_einsum/w"] == (8, 2048, 256)
    assert shapes[f"{layer}attn/kv_einsum/w"] == (2, 1, 2048, 256)
    assert shapes[f"{layer}attn/attn_vec_einsum/w"] == (8, 256, 2048)
    assert shapes[f"{layer}mlp/gating_einsum/w"] == (2, 2048, 16384)
    assert shapes[f"{layer}mlp/linear/w"] == (16384, 2048)
    shapes = flat_shapes(CATALOG["Gemma1_7B"], gate_first=False)
    assert shapes[f"{layer}attn/qkv_einsum/w"] == (3, 16, 3072, 256)


@pytest.mark.parametrize("build", [gemma2_config, gemma3_config])
def test_unknown_sizes_get_the_defaults_of_the_family(build):
    config = build(**SIZES)
    assert config_of(flat_shapes(config)) == config


def test_what_shapes_cannot_say_is_not_guessed_from_a_smaller_model():
    """Stretched positions belong to published sizes only."""
    config = gemma3_config(**SIZES, global_rope=RopeConfig(theta=1e6, factor=8.0))
    assert config_of(flat_shapes(config)) == gemma3_config(**SIZES)


def test_sizes_of_eyes():
    config = gemma3_config(**SIZES, vision=EYES)
    assert config_of(flat_shapes(config)).vision == EYES


def test_eyes_with_too_few_patches_are_refused():
    shapes = flat_shapes(gemma3_config(**SIZES, vision=EYES))
    shapes["SigLiPFromPatches_0/siglip_encoder/pos_embedding"] = (1, 9, 32)
    with pytest.raises(
        CheckpointError, match="there does not hold a Gemma: tokens_per"
    ):
        config_of(shapes)


def test_number_of_axes_is_checked():
    shapes = flat_shapes(gemma3_config(**SIZES))
    shapes["transformer/layer_0/mlp/linear/w"] = (40,)
    with pytest.raises(
        CheckpointError,
        match=r"Array 'transformer/layer_0/mlp/linear/w' in there has shape \(40,\); "
        "2 axes are needed",
    ):
        config_of(shapes)


def test_absurd_sizes_are_refused():
    shapes = flat_shapes(gemma3_config(**SIZES))
    shapes["transformer/layer_123456/attn/q_einsum/w"] = (1, 1, 1)
    with pytest.raises(CheckpointError, match="num_layers is 123457"):
        config_of(shapes)


def test_stacks_that_cannot_take_turns_are_refused():
    shapes = flat_shapes(gemma3_config(**SIZES))
    stacked = {
        name.replace("layer_0", f"stacked_layers/attention_type_{i}"): (count, *shape)
        for i, count in enumerate((2, 4))
        for name, shape in shapes.items()
        if "layer_" in name
    }
    table = {"transformer/embedder/input_embedding": (50, 24)}
    with pytest.raises(CheckpointError, match=r"there are \[2, 4\] by type; 6 layers"):
        config_of(table | stacked)


def test_directory_without_a_table_is_no_gemma():
    with pytest.raises(
        CheckpointError,
        match=r"there holds no Gemma: array 'embedder/input_embedding' is missing "
        r"among a/b, c and 0 more",
    ):
        config_of({"a/b": (1,), "c": (2,)})
