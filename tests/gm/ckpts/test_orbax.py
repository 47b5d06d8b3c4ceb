"""DeepMind's checkpoints: every layout of every family becomes the same params."""

import dataclasses
import json
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("orbax.checkpoint")

import orbax.checkpoint as ocp
import tensorstore
from orbax_trees import (
    EYES,
    flat_tree,
    nested_tree,
    stacked_tree,
    training_state,
    write_orbax,
)

from gemma import gm
from gemma.gm.ckpts import load_config, load_model, load_params, open_checkpoint
from gemma.gm.nn import Transformer
from gemma.gm.weights import ParamSpec, QuantizedArray, flatten

FAMILIES = [
    "gemma1_mqa", "gemma1_mha_wide", "gemma2_gqa", "gemma3_mqa", "gemma3_gqa_stretched",
]  # fmt: skip
LAYOUTS = {
    "flat": flat_tree,
    "nested": lambda nested: nested,
    "nested_under_transformer": lambda nested: {"transformer": nested},
    "stacked_by_2": lambda nested: stacked_tree(nested, 2),
    "training_state": training_state,
    "flat_training_state": lambda nested: {"params": flat_tree(nested)},
}


def assert_same_params(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for path, weight in flatten(found).items():
        expected_weight = flatten(expected)[path]
        assert weight.dtype == expected_weight.dtype, path
        np.testing.assert_array_equal(weight, expected_weight, err_msg=path)


@pytest.fixture
def seeing(tiny_model, tiny_of):
    """A tiny model with eyes."""
    config = tiny_model("gemma3_gqa_stretched").model.config
    return tiny_of(dataclasses.replace(config, vision=EYES))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_layout_gives_the_same_params(tiny_model, tmp_path, name, layout):
    tiny = tiny_model(name)
    if layout.startswith("stacked") and tiny.model.config.num_layers < 2:
        pytest.skip("a single layer")
    nested = nested_tree(tiny.params, tiny.model.config)
    write_orbax(tmp_path / "m", LAYOUTS[layout](nested))
    assert_same_params(load_params(tmp_path / "m", dtype=jnp.float32), tiny.params)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_eyes(seeing, tmp_path, layout):
    nested = nested_tree(seeing.params, seeing.model.config)
    write_orbax(tmp_path / "m", LAYOUTS[layout](nested))
    model, params = load_model(tmp_path / "m", dtype=jnp.float32)
    assert model.config.vision == EYES
    assert_same_params(params, seeing.params)


@pytest.mark.parametrize("zarr3", [False, True])
@pytest.mark.parametrize("ocdbt", [False, True])
@pytest.mark.parametrize("layout", ["flat", "nested"])
def test_every_driver_gives_the_same_params(tiny_model, tmp_path, layout, ocdbt, zarr3):
    tiny = tiny_model("gemma2_gqa")
    nested = nested_tree(tiny.params, tiny.model.config)
    write_orbax(tmp_path / "m", LAYOUTS[layout](nested), ocdbt=ocdbt, zarr3=zarr3)
    assert_same_params(load_params(tmp_path / "m", dtype=jnp.float32), tiny.params)


def test_arrays_of_a_device_are_read(tiny_model, tmp_path):
    """They are written by another part of Orbax, with their shardings."""
    tiny = tiny_model("gemma3_mqa")
    nested = nested_tree(tiny.params, tiny.model.config)
    with ocp.StandardCheckpointer() as writer:
        writer.save(tmp_path / "m", jax.tree.map(jnp.asarray, nested))
    assert_same_params(load_params(tmp_path / "m", dtype=jnp.float32), tiny.params)


@pytest.mark.parametrize("layout", ["flat", "nested"])
def test_directory_of_an_old_orbax_is_read(tiny_model, tmp_path, layout):
    """It has folders of arrays and nothing that says so."""
    tiny = tiny_model("gemma1_mqa")
    nested = nested_tree(tiny.params, tiny.model.config)
    write_orbax(tmp_path / "m", LAYOUTS[layout](nested), ocdbt=False)
    for path in (tmp_path / "m").iterdir():
        if path.is_file():
            path.unlink()
    shutil.rmtree(tmp_path / "m" / "array_metadatas", ignore_errors=True)
    assert_same_params(load_params(tmp_path / "m", dtype=jnp.float32), tiny.params)


def test_array_of_zeros_that_an_old_orbax_left_out_is_zeros(tiny_model, tmp_path):
    tiny = tiny_model("gemma1_mqa")
    write_orbax(
        tmp_path / "m", nested_tree(tiny.params, tiny.model.config), ocdbt=False
    )
    stated = json.loads((tmp_path / "m" / "_METADATA").read_text())
    del stated["store_array_data_equal_to_fill_value"]
    (tmp_path / "m" / "_METADATA").write_text(json.dumps(stated))
    (tmp_path / "m" / "final_norm.scale" / "0").unlink()
    params = load_params(tmp_path / "m", dtype=jnp.float32)
    np.testing.assert_array_equal(params["final_norm"], np.zeros(32))


def test_training_state_is_found_in_its_folder(tiny_model, tmp_path):
    tiny = tiny_model("gemma3_mqa")
    nested = nested_tree(tiny.params, tiny.model.config)
    write_orbax(tmp_path / "ckpt_3" / "default", training_state(nested))
    model, params = load_model(tmp_path / "ckpt_3", dtype=jnp.float32)
    assert_same_params(params, tiny.params)
    assert model.checkpoint == tmp_path / "ckpt_3"


def test_optimizer_state_is_not_read(tiny_model, tmp_path):
    tiny = tiny_model("gemma3_mqa")
    nested = nested_tree(tiny.params, tiny.model.config)
    write_orbax(tmp_path / "m", training_state(nested), ocdbt=False)
    ruined = 0
    for path in (tmp_path / "m").glob("opt_state*/*"):
        path.write_bytes(b"\0")
        ruined += 1
    assert ruined > 20
    assert_same_params(load_params(tmp_path / "m", dtype=jnp.float32), tiny.params)


@pytest.mark.parametrize("layout", ["flat", "nested"])
def test_eyes_are_not_read_when_only_text_is_wanted(seeing, tmp_path, layout):
    nested = nested_tree(seeing.params, seeing.model.config)
    write_orbax(tmp_path / "m", LAYOUTS[layout](nested), ocdbt=False)
    ruined = 0
    for path in (tmp_path / "m").rglob("*"):
        if path.is_file() and ("siglip" in str(path) or "mm_" in str(path)):
            path.write_bytes(b"\0")
            ruined += 1
    assert ruined > 60
    checkpoint = open_checkpoint(tmp_path / "m", text_only=True)
    assert checkpoint.config.vision is None
    text = {name: part for name, part in seeing.params.items() if name != "vision"}
    assert_same_params(checkpoint.read_params(dtype=jnp.float32), text)


def test_old_name_of_the_feed_forward_of_the_eyes(seeing, tmp_path):
    flat = flat_tree(nested_tree(seeing.params, seeing.model.config))
    renamed = {name.replace("/Dense_", "/DenseGeneral_"): x for name, x in flat.items()}
    assert renamed.keys() != flat.keys()
    write_orbax(tmp_path / "m", renamed)
    assert_same_params(load_params(tmp_path / "m", dtype=jnp.float32), seeing.params)


@pytest.mark.parametrize("gate_first", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_gate_of_either_orientation(tiny_model, tmp_path, name, gate_first):
    tiny = tiny_model(name)
    nested = nested_tree(tiny.params, tiny.model.config, gate_first=gate_first)
    write_orbax(tmp_path / "m", nested)
    assert_same_params(load_params(tmp_path / "m", dtype=jnp.float32), tiny.params)


@pytest.mark.parametrize(
    ("name", "gate_first"), [("1", False), ("2", True), ("3", True)]
)
def test_square_gate_lies_as_in_its_family(tiny_of, tmp_path, name, gate_first):
    """Shapes do not tell then."""
    build = getattr(gm.nn, f"gemma{name}_config")
    tiny = tiny_of(
        build(num_layers=2, embed_dim=32, hidden_dim=32, num_heads=2, num_kv_heads=1,
              head_dim=8, vocab_size=40)
    )  # fmt: skip
    nested = nested_tree(tiny.params, tiny.model.config, gate_first=gate_first)
    write_orbax(tmp_path / "m", nested)
    assert_same_params(load_params(tmp_path / "m", dtype=jnp.float32), tiny.params)


@pytest.mark.parametrize("dtype", ["as-stored", "bfloat16"])
def test_bfloat16_stays_bfloat16(tiny_model, tmp_path, dtype):
    tiny = tiny_model("gemma3_mqa")
    narrow = jax.tree.map(lambda x: x.astype(jnp.bfloat16), tiny.params)
    write_orbax(tmp_path / "m", flat_tree(nested_tree(narrow, tiny.model.config)))
    found = flatten(load_params(tmp_path / "m", dtype=dtype))
    for path, weight in flatten(narrow).items():
        is_norm = weight.ndim == 1
        kept = jnp.float32 if is_norm and dtype == "as-stored" else jnp.bfloat16
        assert found[path].dtype == kept, path
        np.testing.assert_array_equal(
            np.asarray(found[path], np.float32), np.asarray(weight, np.float32)
        )


@pytest.mark.parametrize("stored", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_any_float_becomes_float32(tiny_model, tmp_path, stored):
    tiny = tiny_model("gemma2_gqa")
    narrow = jax.tree.map(lambda x: np.asarray(x).astype(stored), tiny.params)
    nested = nested_tree(tiny.params, tiny.model.config)
    write_orbax(
        tmp_path / "m", jax.tree.map(lambda x: np.asarray(x).astype(stored), nested)
    )
    expected = jax.tree.map(lambda x: x.astype(np.float32), narrow)
    assert_same_params(load_params(tmp_path / "m", dtype=jnp.float32), expected)


@pytest.mark.parametrize("layout", ["nested", "stacked_by_2"])
@pytest.mark.parametrize("method", ["int8", "int4", "nf4"])
def test_quantized_while_loading(tiny_of, tmp_path, method, layout):
    """The same as quantized after loading."""
    tiny = tiny_of(
        gm.nn.gemma3_config(
            num_layers=3, embed_dim=64, hidden_dim=96, num_heads=4, num_kv_heads=2,
            head_dim=24, vocab_size=70,
        )
    )  # fmt: skip
    nested = nested_tree(tiny.params, tiny.model.config)
    write_orbax(tmp_path / "m", LAYOUTS[layout](nested))
    found = load_params(tmp_path / "m", dtype=method)
    assert isinstance(found["layer_1"]["attn"]["k"], QuantizedArray)
    expected = gm.peft.quantize(tiny.params, method)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def num_bytes_read() -> int:
    """Returns how much tensorstore has read from files so far."""
    name = "/tensorstore/kvstore/file/bytes_read"
    (metric,) = tensorstore.experimental_collect_matching_metrics(name)
    return metric["values"][0]["value"]


def test_each_array_is_read_once(tiny_model, tmp_path):
    """Stacked ones too, though our layers go through them by turns."""
    tiny = tiny_model("gemma3_mqa")
    nested = nested_tree(tiny.params, tiny.model.config)
    write_orbax(tmp_path / "m", stacked_tree(nested, 2), ocdbt=False)
    checkpoint = open_checkpoint(tmp_path / "m")
    begin = num_bytes_read()
    checkpoint.read_params(dtype=jnp.float32)
    files = [path for path in (tmp_path / "m").rglob("0*") if path.is_file()]
    assert num_bytes_read() - begin == sum(path.stat().st_size for path in files)


def test_one_weight_is_read_alone(tiny_model, tmp_path):
    tiny = tiny_model("gemma3_mqa")
    nested = nested_tree(tiny.params, tiny.model.config)
    write_orbax(tmp_path / "m", nested, ocdbt=False)
    checkpoint = open_checkpoint(tmp_path / "m")
    begin = num_bytes_read()
    weight = checkpoint.read_weight("layer_3/mlp/up", np.float32)
    np.testing.assert_array_equal(weight, tiny.params["layer_3"]["mlp"]["up"])
    array = tmp_path / "m" / "layer_3.mlp.gating_einsum" / "0.0.0"
    assert num_bytes_read() - begin == array.stat().st_size


def test_table_with_more_rows_than_the_vocabulary(tmp_path, random_tokens):
    config = gm.nn.gemma1_config(
        num_layers=1, embed_dim=8, hidden_dim=16, num_heads=2, num_kv_heads=1,
        head_dim=4, vocab_size=256_128,
    )  # fmt: skip
    zeros = jax.tree.map(
        lambda spec: np.zeros(spec.shape, np.float32),
        Transformer(config).specs(),
        is_leaf=lambda node: isinstance(node, ParamSpec),
    )
    write_orbax(tmp_path / "m", flat_tree(nested_tree(zeros, config)))
    model, params = load_model(tmp_path / "m", dtype=jnp.float32)
    assert model.config == config
    logits = model.apply({"params": params}, random_tokens((1, 4))).logits
    assert logits.shape == (1, 4, 256_128)


def test_config_beside_the_arrays_is_believed(tiny_model, tmp_path):
    tiny = tiny_model("gemma3_gqa_stretched")
    write_orbax(tmp_path / "m", nested_tree(tiny.params, tiny.model.config))
    assert load_config(tmp_path / "m") != tiny.model.config
    gm.ckpts.save_model(tmp_path / "hf", tiny.model, tiny.params)
    shutil.copy(tmp_path / "hf" / "config.json", tmp_path / "m")
    assert load_config(tmp_path / "m") == tiny.model.config


def test_config_beside_a_training_state_is_believed(tiny_model, tmp_path):
    tiny = tiny_model("gemma2_gqa")
    nested = nested_tree(tiny.params, tiny.model.config)
    write_orbax(tmp_path / "m" / "default", training_state(nested))
    gm.ckpts.save_model(tmp_path / "hf", tiny.model, tiny.params)
    shutil.copy(tmp_path / "hf" / "config.json", tmp_path / "m")
    assert load_config(tmp_path / "m") == tiny.model.config


@pytest.mark.slow
def test_reading_imports_no_orbax_and_says_nothing(tiny_model, tmp_path):
    """tensorstore is enough, and it is not imported before it is needed."""
    tiny = tiny_model("gemma1_mqa")
    write_orbax(tmp_path / "m", nested_tree(tiny.params, tiny.model.config))
    code = (
        "import sys; from gemma import gm; gm.ckpts.load_model;"
        "assert 'tensorstore' not in sys.modules;"
        f"gm.ckpts.load_model({str(tmp_path / 'm')!r});"
        "assert 'orbax' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_params_of_another_model_are_told_apart(tiny_model, tmp_path):
    """The params really come from the directory."""
    tiny = tiny_model("gemma1_mqa")
    other = Transformer(tiny.model.config).init(jax.random.key(5))
    write_orbax(tmp_path / "m", nested_tree(other, tiny.model.config))
    assert_same_params(load_params(tmp_path / "m", dtype=jnp.float32), other)


@pytest.mark.parametrize("ocdbt", [True, False])
def test_an_archive_of_kaggle_is_the_directory_in_it(tiny_model, tmp_path, ocdbt):
    """As `kagglehub.model_download("google/gemma/Flax/2b-it")` returns it."""
    tiny = tiny_model("gemma1_mqa")
    tree = flat_tree(nested_tree(tiny.params, tiny.model.config))
    write_orbax(tmp_path / "2b-it", tree, ocdbt=ocdbt)
    (tmp_path / "tokenizer.model").touch()
    found = load_params(tmp_path, dtype="float32")
    assert_same_params(found, load_params(tmp_path / "2b-it", dtype="float32"))
    shutil.copytree(tmp_path / "2b-it", tmp_path / "2b")
    with pytest.raises(gm.ckpts.CheckpointError, match="is not a checkpoint"):
        load_params(tmp_path)
