"""Checkpoints as the tree of 2024, and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma import gm
from gemma import params as params_lib
from gemma.gm.weights import flatten


def assert_same(actual, expected):
    actual, expected = flatten(actual), flatten(expected)
    assert actual.keys() == expected.keys()
    for path, leaf in expected.items():
        assert actual[path].dtype == leaf.dtype, path
        np.testing.assert_array_equal(actual[path], leaf, err_msg=path)


def as_bfloat16(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf.astype(jnp.bfloat16)), tree)


def test_tree_and_back_is_identity(old):
    config = old.ours.model.config
    assert_same(gm.ckpts.from_deepmind(old.tree, config), old.ours.params)


def test_names_and_shapes_of_gemma_1(gemma1):
    assert {path: leaf.shape for path, leaf in flatten(gemma1.tree).items()} == {
        "embedder/input_embedding": (480, 32),
        **{
            f"layer_{i}/{name}": shape
            for i in range(2)
            for name, shape in {
                "attn/q_einsum/w": (4, 32, 8),
                "attn/kv_einsum/w": (2, 1, 32, 8),
                "attn/attn_vec_einsum/w": (4, 8, 32),
                "mlp/gating_einsum": (2, 32, 48),
                "mlp/linear": (48, 32),
                "pre_attention_norm/scale": (32,),
                "pre_ffw_norm/scale": (32,),
            }.items()
        },
        "final_norm/scale": (32,),
    }


def test_as_many_key_heads_as_query_heads_are_one_weight(tiny_model):
    tiny = tiny_model("gemma1_mha_wide")
    attn = gm.ckpts.to_deepmind(tiny.params, tiny.model.config)["layer_0"]["attn"]
    assert attn["qkv_einsum"]["w"].shape == (3, 3, 24, 16)
    assert set(attn) == {"qkv_einsum", "attn_vec_einsum"}


def test_norms_of_gemma_3(tiny_model):
    tiny = tiny_model("gemma3_mqa")
    layer = gm.ckpts.to_deepmind(tiny.params, tiny.model.config)["layer_0"]
    assert layer["attn"]["_query_norm"]["scale"].shape == (8,)
    assert layer["attn"]["_key_norm"]["scale"].shape == (8,)
    assert {name for name in layer if name.endswith("norm")} == {
        "pre_attention_norm",
        "post_attention_norm",
        "pre_ffw_norm",
        "post_ffw_norm",
    }


@pytest.mark.parametrize(
    ("name", "shape"),
    [("Gemma2_2B", (2, 2304, 9216)), ("Gemma2_9B", (2, 14336, 3584))],
)
def test_gating_lies_as_in_the_published_model(name, shape):
    model = gm.nn.Transformer(gm.nn.CATALOG[name])
    tree = jax.eval_shape(
        lambda: gm.ckpts.to_deepmind(model.init(jax.random.key(0)), model.config)
    )
    assert tree["layer_0"]["mlp"]["gating_einsum"].shape == shape


def test_gating_that_lies_the_other_way_is_read_too(old):
    config = old.ours.model.config
    turned = {
        path: leaf.transpose(0, 2, 1) if path.endswith("gating_einsum") else leaf
        for path, leaf in flatten(old.tree).items()
    }
    tree = gm.weights.unflatten(turned)
    gm.ckpts.check_deepmind(tree, config)
    assert_same(gm.ckpts.from_deepmind(tree, config), old.ours.params)


@pytest.mark.slow
def test_flat_orbax_directory_keeps_its_dtype_and_bits(flat_checkpoint, gemma1):
    params = params_lib.load_and_format_params(flat_checkpoint)
    assert_same(params, {"transformer": as_bfloat16(gemma1.tree)})


@pytest.mark.slow
def test_load_params_has_the_names_of_the_files(flat_checkpoint):
    flat = params_lib.load_params(flat_checkpoint)
    assert set(flat["transformer/layer_1/attn/q_einsum"]) == {"w"}
    assert set(flat["transformer/layer_1/mlp/linear"]) == {"w"}
    assert set(flat["transformer/final_norm"]) == {"scale"}
    assert set(flat["transformer/embedder"]) == {"input_embedding"}


@pytest.mark.slow
def test_saved_and_loaded_is_identity(old, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    params = {"transformer": jax.device_get(old.tree)}
    params_lib.format_and_save_params(params, tmp_path / "trained")
    assert_same(params_lib.load_and_format_params(tmp_path / "trained"), params)


def test_hugging_face_folder_becomes_the_same_tree(old, tmp_path):
    gm.ckpts.save_model(
        tmp_path / "hf", old.ours.model, old.ours.params, dtype=jnp.bfloat16
    )
    params = params_lib.load_and_format_params(tmp_path / "hf")
    assert_same(params, {"transformer": as_bfloat16(old.tree)})


def test_existing_directory_is_left_alone(gemma1, tmp_path):
    with pytest.raises(FileExistsError, match=r"exists\. Choose another name"):
        params_lib.format_and_save_params({"transformer": gemma1.tree}, tmp_path)


def test_nothing_at_the_path(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no checkpoint at"):
        params_lib.load_and_format_params(tmp_path / "2b")


def test_remapping_folds_feedforward_weights_only():
    flat = {
        "transformer/layer_0/mlp/gating_einsum": {"w": 1},
        "transformer/layer_0/mlp/linear": {"w": 2},
        "transformer/layer_0/attn/q_einsum": {"w": 3},
        "transformer/final_norm": {"scale": 4},
    }
    remapped = params_lib.param_remapper(flat)
    assert remapped == {
        "transformer/layer_0/mlp": {"gating_einsum": 1, "linear": 2},
        "transformer/layer_0/attn/q_einsum": {"w": 3},
        "transformer/final_norm": {"scale": 4},
    }
    nested = params_lib.nest_params(remapped)
    assert nested == {
        "transformer": {
            "layer_0": {
                "mlp": {"gating_einsum": 1, "linear": 2},
                "attn": {"q_einsum": {"w": 3}},
            },
            "final_norm": {"scale": 4},
        }
    }
    assert params_lib.flatten_and_remap_params(nested) == flat
