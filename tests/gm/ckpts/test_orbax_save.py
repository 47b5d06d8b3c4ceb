"""Directories that DeepMind's library can load: written, read back, compared."""

import dataclasses
import json
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("orbax.checkpoint")

import orbax.checkpoint as ocp
from orbax_trees import EYES, nested_tree

from gemma.gm.ckpts import (
    load_model,
    load_params,
    open_checkpoint,
    save_model,
    save_orbax,
)
from gemma.gm.nn import Transformer, gemma2_config
from gemma.gm.weights import flatten


@pytest.fixture(params=["text", "eyes"])
def any_tiny(request, tiny, tiny_of):
    """Each tiny model, and those of Gemma 3 with eyes as well."""
    if request.param == "text":
        return tiny
    if tiny.model.config.family != "gemma3":
        pytest.skip("has no eyes")
    return tiny_of(dataclasses.replace(tiny.model.config, vision=EYES))


@pytest.fixture
def one(tiny_model):
    return tiny_model("gemma2_gqa")


def reader(params):
    """Returns what gives one of the weights in memory."""
    weights = flatten(params)
    return lambda ours: np.asarray(weights[ours])


def test_loaded_is_what_was_saved(any_tiny, tmp_path):
    save_orbax(tmp_path / "m", any_tiny.model, reader(any_tiny.params), dtype="float32")
    model, params = load_model(tmp_path / "m", dtype=jnp.float32)
    assert model.config == any_tiny.model.config
    jax.tree.map(np.testing.assert_array_equal, params, any_tiny.params)


def test_orbax_restores_the_tree_of_their_modules(any_tiny, tmp_path):
    config = any_tiny.model.config
    save_orbax(tmp_path / "m", any_tiny.model, reader(any_tiny.params), dtype="float32")
    with ocp.StandardCheckpointer() as restorer:
        found = restorer.restore(tmp_path / "m")
    expected = nested_tree(any_tiny.params, config, gate_first=config.family != "gemma")
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_orbax_restores_onto_devices(one, tmp_path):
    """As their loader asks for it: with shapes and a sharding."""
    save_orbax(tmp_path / "m", one.model, reader(one.params), dtype="bfloat16")
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    target = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16, sharding=sharding),
        nested_tree(one.params, one.model.config),
    )
    with ocp.StandardCheckpointer() as restorer:
        found = restorer.restore(tmp_path / "m", target=target)
    weight = found["layer_0"]["attn"]["q_einsum"]["w"]
    assert isinstance(weight, jax.Array)
    assert weight.dtype == jnp.bfloat16


def test_gate_of_the_2b_of_gemma_2_lies_the_other_way(tmp_path):
    model = Transformer(
        gemma2_config(
            num_layers=1, embed_dim=2304, hidden_dim=4, num_heads=2, num_kv_heads=1,
            head_dim=2, vocab_size=10,
        )
    )  # fmt: skip
    specs = flatten(model.specs())
    save_orbax(
        tmp_path / "m", model, lambda ours: np.zeros(specs[ours].shape), dtype="float32"
    )
    with ocp.StandardCheckpointer() as restorer:
        found = restorer.restore(tmp_path / "m")
    assert found["layer_0"]["mlp"]["gating_einsum"].shape == (2, 2304, 4)


@pytest.mark.slow
def test_folder_of_hugging_face_becomes_a_directory_of_the_same_logits(
    tiny, tmp_path, random_tokens
):
    """Neither lies in memory as a whole."""
    save_model(tmp_path / "hf", tiny.model, tiny.params)
    source = open_checkpoint(tmp_path / "hf")
    save_orbax(
        tmp_path / "m",
        source.model,
        lambda ours: source.read_weight(ours, np.float32),
        dtype="float32",
    )
    model, params = load_model(tmp_path / "m", dtype=jnp.float32)
    assert model.config == tiny.model.config
    tokens = random_tokens((2, 9))
    found = model.apply({"params": params}, tokens).logits
    expected = tiny.model.apply({"params": tiny.params}, tokens).logits
    np.testing.assert_array_equal(found, expected)


def test_config_says_the_dtype(one, tmp_path):
    save_orbax(tmp_path / "m", one.model, reader(one.params), dtype=jnp.bfloat16)
    stated = json.loads((tmp_path / "m" / "config.json").read_text())
    assert stated["dtype"] == "bfloat16"
    params = load_params(tmp_path / "m", dtype="as-stored")
    assert params["layer_0"]["attn"]["q"].dtype == jnp.bfloat16


def test_each_weight_is_asked_for_once(one, tmp_path):
    asked = []

    def read(ours: str) -> np.ndarray:
        asked.append(ours)
        return np.asarray(flatten(one.params)[ours])

    save_orbax(tmp_path / "m", one.model, read, dtype="float32")
    assert sorted(asked) == sorted(flatten(one.params))


def test_arrays_are_made_one_after_another(one, tmp_path):
    """A weight is read when those of the arrays before it have been written."""
    written = []

    def read(ours: str) -> np.ndarray:
        data = tmp_path.rglob("ocdbt.process_0/d/*")
        written.append(sum(path.stat().st_size for path in data))
        return np.asarray(flatten(one.params)[ours])

    save_orbax(tmp_path / "m", one.model, read, dtype="float32")
    assert written[0] == 0
    assert written[-1] > 0


def test_directory_that_exists_is_left_alone(one, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("x")
    with pytest.raises(FileExistsError, match=r"mine exists\. Choose another name"):
        save_orbax(tmp_path / "mine", one.model, reader(one.params), dtype="float32")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["precious"]


def test_failure_leaves_nothing_behind(one, tmp_path, capfd, caplog):
    """The weights end in the middle; Orbax would log what it raises."""
    weights = flatten(one.params)
    del weights["layer_2/mlp/down"]
    with pytest.raises(KeyError, match="layer_2/mlp/down"):
        save_orbax(
            tmp_path / "m",
            one.model,
            lambda ours: np.asarray(weights[ours]),
            dtype="float32",
        )
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_others_may_read_the_directory(one, tmp_path):
    save_orbax(tmp_path / "m", one.model, reader(one.params), dtype="float32")
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "m").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_terminal_stays_clean(one, tmp_path, capfd, caplog):
    logging.getLogger("absl").setLevel(logging.WARNING)
    save_orbax(tmp_path / "m", one.model, reader(one.params), dtype="float32")
    load_params(tmp_path / "m")
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert logging.getLogger("absl").level == logging.WARNING


def test_integers_are_refused(one, tmp_path):
    with pytest.raises(ValueError, match="cannot be written as 'int8'"):
        save_orbax(tmp_path / "m", one.model, reader(one.params), dtype="int8")
    assert list(tmp_path.iterdir()) == []
