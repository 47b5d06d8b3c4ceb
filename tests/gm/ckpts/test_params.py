"""`load_params` and `save_params`: params alone, to devices, and as DeepMind's trees."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma import gm
from gemma.gm.ckpts import (
    CheckpointPath,
    infer_config,
    load_params,
    open_checkpoint,
    read_deepmind,
    save_model,
    save_params,
    to_deepmind,
)
from gemma.gm.weights import flatten


def assert_same(actual, expected):
    actual, expected = flatten(actual), flatten(expected)
    assert actual.keys() == expected.keys()
    for path, leaf in expected.items():
        np.testing.assert_array_equal(actual[path], leaf, err_msg=path)


@pytest.mark.slow
def test_saved_and_loaded_is_identity(tiny, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    save_params(tiny.params, tmp_path / "p", model=tiny.model)
    assert_same(load_params(tmp_path / "p", dtype=jnp.float32), tiny.params)


@pytest.mark.slow
def test_params_alone_tell_the_sizes(tiny_model, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    tiny = tiny_model("gemma1_mha_wide")
    save_params(tiny.params, tmp_path / "p")
    found = gm.ckpts.load_config(tmp_path / "p")
    layer = found.layers[0]
    assert (found.num_layers, found.embed_dim, layer.head_dim) == (1, 24, 16)
    assert (layer.num_heads, layer.num_kv_heads, layer.hidden_dim) == (3, 3, 40)
    assert_same(load_params(tmp_path / "p", dtype=jnp.float32), tiny.params)


@pytest.mark.slow
def test_packed_params_are_written_as_numbers(tiny_of, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    config = gm.nn.gemma1_config(
        num_layers=1, embed_dim=32, hidden_dim=64, num_heads=1, num_kv_heads=1,
        head_dim=32, vocab_size=64,
    )  # fmt: skip
    packed = gm.peft.quantize(tiny_of(config).params, "int8")
    save_params(packed, tmp_path / "p")
    expected = gm.peft.dequantize(packed)
    assert_same(load_params(tmp_path / "p", dtype=jnp.float32), expected)


def test_options_of_deepmind(tiny_folder, tiny_model, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    name = "gemma1_mqa"
    for donate in (True, False):
        found = load_params(
            tiny_folder(name), donate=donate, quantize=False, dtype=jnp.float32
        )
        assert_same(found, tiny_model(name).params)
    with pytest.raises(
        ValueError, match=r"quantize=True renames weights.*dtype='int8'"
    ):
        load_params(tiny_folder(name), quantize=True)
    for wait in (True, False):
        path = tmp_path / str(wait)
        save_params(found, path, wait_until_finished=wait)
        assert_same(load_params(path, dtype=jnp.float32), found)


def test_params_of_something_else(tmp_path):
    with pytest.raises(ValueError, match=r"no params of a Gemma: 'layer_0/attn/q' is"):
        save_params({"w": jnp.ones(3)}, tmp_path / "p")


def test_tree_of_a_checkpoint_is_that_of_its_params(tiny, tmp_path):
    save_model(tmp_path / "m", tiny.model, tiny.params)
    tree = read_deepmind(open_checkpoint(tmp_path / "m"))
    assert_same(tree, to_deepmind(tiny.params, tiny.model.config))


@pytest.mark.parametrize("name", gm.nn.CATALOG)
def test_published_models_are_known_by_their_trees(name):
    config = gm.nn.CATALOG[name]
    model = gm.nn.Transformer(config)
    tree = jax.eval_shape(lambda: to_deepmind(model.init(jax.random.key(0)), config))
    assert infer_config(tree) == config


def test_names_are_those_that_are_published():
    assert set(CheckpointPath) <= set(gm.hub.published_names())


SHARDED = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from gemma import gm

mesh = Mesh(np.array(jax.devices()), ("model",))
whole = NamedSharding(mesh, P())
model, expected = gm.ckpts.load_model(sys.argv[1], dtype=jnp.float32)
layer = {
    "attn": {"q": NamedSharding(mesh, P("model")), "k": whole, "v": whole, "o": whole},
    "mlp": NamedSharding(mesh, P(None, "model")),
    **dict.fromkeys(set(expected["layer_0"]) - {"attn", "mlp"}, whole),
}
places = {"embedder": whole, "final_norm": whole}
places |= {name: layer for name in expected if name.startswith("layer_")}
found = gm.ckpts.load_params(sys.argv[1], dtype=jnp.float32, sharding=places)
up = found["layer_1"]["mlp"]["up"]
assert [s.data.shape[1] for s in up.addressable_shards] == [up.shape[1] // 4] * 4
assert len(found["layer_0"]["attn"]["q"].sharding.device_set) == 4
tokens = jnp.arange(3, 11)[None]
one, many = (model.apply({"params": p}, tokens).logits for p in (expected, found))
np.testing.assert_allclose(one, many, atol=1e-4)
"""


@pytest.mark.slow
def test_weights_go_straight_to_four_devices(tiny_folder):
    flags = "--xla_force_host_platform_device_count=4"
    subprocess.run(
        [sys.executable, "-c", SHARDED, tiny_folder("gemma1_mqa")],
        env={**os.environ, "XLA_FLAGS": flags},
        check=True,
    )


def test_shardings_that_leave_a_weight_out(tiny_folder):
    place = jax.devices()[0]
    with pytest.raises(ValueError, match="name no place for weight 'layer_0/"):
        load_params(
            tiny_folder("gemma1_mqa"),
            sharding={"embedder": place, "final_norm": place},
        )
