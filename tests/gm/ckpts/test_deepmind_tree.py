"""DeepMind's tree of a checkpoint whose weights are not all of one dtype."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

pytest.importorskip("orbax.checkpoint")

from orbax_trees import EYES, nested_tree, write_orbax

from gemma.gm.ckpts import open_checkpoint, read_deepmind, save_model
from gemma.gm.nn import gemma3_config
from gemma.gm.weights import flatten

SEEING = gemma3_config(
    num_layers=1, embed_dim=16, hidden_dim=24, num_heads=2, num_kv_heads=1, head_dim=8,
    vocab_size=50, vision=EYES,
)  # fmt: skip


@pytest.mark.slow
def test_eyes_of_32_bits_stay_so_beside_text_of_16(tiny_of, tmp_path):
    """As their library makes a model: rounding would lose half of each weight."""
    tree = nested_tree(tiny_of(SEEING).params, SEEING)
    eyes = tree.pop("vision_encoder")
    tree = jax.tree.map(lambda w: w.astype(jnp.bfloat16), tree)
    tree["vision_encoder"] = eyes
    write_orbax(tmp_path / "m", tree)
    found = read_deepmind(open_checkpoint(tmp_path / "m"))
    assert {n: w.dtype for n, w in flatten(found).items()} == {
        n: w.dtype for n, w in flatten(tree).items()
    }
    jax.tree.map(np.testing.assert_array_equal, found, tree)


def test_an_array_of_two_tensors_takes_the_wider_dtype(tiny_of, tmp_path):
    """Keys of 16 bits and values of 32, which are one array of theirs."""
    tiny = tiny_of(dataclasses.replace(SEEING, vision=None))
    save_model(tmp_path / "m", tiny.model, tiny.params)
    path = tmp_path / "m" / "model.safetensors"
    tensors = load_file(path)
    name = "model.layers.0.self_attn.k_proj.weight"
    save_file(tensors | {name: tensors[name].astype(np.float16)}, path)
    attn = read_deepmind(open_checkpoint(tmp_path / "m"))["layer_0"]["attn"]
    keys, values = attn["kv_einsum"]["w"]
    assert keys.dtype == np.float32
    ours = tiny.params["layer_0"]["attn"]
    np.testing.assert_array_equal(values, ours["v"].transpose(0, 2, 1))
    np.testing.assert_array_equal(
        keys, ours["k"].transpose(0, 2, 1).astype(np.float16).astype(np.float32)
    )
