"""Quantizing while loading, and folders of packed weights."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gemma.gm.ckpts import (
    AS_STORED,
    CheckpointError,
    load_model,
    load_params,
    open_checkpoint,
    save_model,
)
from gemma.gm.peft import KINDS, dequantize, quantize
from gemma.gm.weights import QuantizedArray, flatten, unflatten

METHODS = sorted(KINDS)
NAME = "model.layers.0.self_attn.q_proj.weight"


def assert_same_bits(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def shapes(tree):
    return jax.tree.map(lambda a: (a.shape, a.dtype), tree)


def change_config(folder, edit) -> None:
    path = folder / "config.json"
    stated = json.loads(path.read_text())
    edit(stated)
    path.write_text(json.dumps(stated))


@pytest.fixture
def folder(tiny_model, tmp_path):
    """A folder of packed weights."""
    tiny = tiny_model("gemma2_gqa")
    path = tmp_path / "packed"
    save_model(path, tiny.model, quantize(tiny.params, "int4"), dtype=AS_STORED)
    return path


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_quantized_while_loading_is_loaded_and_quantized(
    tiny, method, stored, tmp_path
):
    save_model(tmp_path / "m", tiny.model, tiny.params, dtype=stored)
    found = load_params(tmp_path / "m", dtype=method)
    plain = load_params(tmp_path / "m", dtype="float32")
    assert_same_bits(found, quantize(plain, method))


@pytest.mark.parametrize("dtype", [*METHODS, AS_STORED, "float32", jnp.bfloat16])
@pytest.mark.parametrize("stored", ["float32", *METHODS])
def test_structs_are_those_of_the_params(tiny_model, dtype, stored, tmp_path):
    """Programs are compiled from them before there are weights."""
    tiny = tiny_model("gemma3_mqa")
    params = quantize(tiny.params, stored) if stored in METHODS else tiny.params
    save_model(tmp_path / "m", tiny.model, params, dtype=AS_STORED)
    checkpoint = open_checkpoint(tmp_path / "m")
    structs = checkpoint.param_structs(dtype)
    assert shapes(structs) == shapes(checkpoint.read_params(dtype=dtype))


def test_progress_is_of_what_is_made(folder):
    seen = []
    params = load_params(
        folder, dtype="nf4", progress=lambda *counts: seen.append(counts)
    )
    total = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    assert seen[-1] == (total, total)


@pytest.mark.parametrize("dtype", ["int3", jnp.int8, np.int32, "bf16", "nf8"])
def test_other_dtypes_are_refused(folder, dtype):
    with pytest.raises(ValueError, match="choose a float dtype or one of 'as-stored'"):
        load_params(folder, dtype=dtype)


def test_a_weight_that_is_no_number_is_named(tiny_model, tmp_path):
    tiny = tiny_model("gemma2_gqa")
    flat = flatten(tiny.params)
    flat["layer_0/attn/q"] = flat["layer_0/attn/q"].at[1, 2, 3].set(jnp.nan)
    save_model(tmp_path / "m", tiny.model, unflatten(flat))
    message = f"Tensor '{NAME}' in .*model.safetensors holds NaN"
    with pytest.raises(ValueError, match=message):
        load_params(tmp_path / "m", dtype="int8")


@pytest.mark.parametrize("max_shard_bytes", [10**9, 8_000], ids=["single", "sharded"])
@pytest.mark.parametrize("method", METHODS)
def test_saved_and_loaded_is_identity(tiny, method, max_shard_bytes, tmp_path):
    params = quantize(tiny.params, method)
    save_model(
        tmp_path / "m",
        tiny.model,
        params,
        dtype=AS_STORED,
        max_shard_bytes=max_shard_bytes,
    )
    model, found = load_model(tmp_path / "m", dtype=AS_STORED)
    assert model.config == tiny.model.config
    assert_same_bits(found, params)


def test_saved_twice_is_the_same(folder, tmp_path):
    save_model(
        tmp_path / "again", *load_model(folder, dtype=AS_STORED), dtype=AS_STORED
    )
    assert [path.name for path in sorted(folder.iterdir())] == [
        "config.json",
        "model.safetensors",
    ]
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_packed_folder_as_plain_arrays(tiny, method, dtype, tmp_path):
    params = quantize(tiny.params, method)
    save_model(tmp_path / "m", tiny.model, params, dtype=AS_STORED)
    assert_same_bits(
        load_params(tmp_path / "m", dtype=dtype), dequantize(params, dtype)
    )


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_packed_params_as_a_plain_folder(tiny, dtype, tmp_path):
    """By default their values, which transformers can read."""
    params = quantize(tiny.params, "nf4")
    save_model(tmp_path / "m", tiny.model, params, dtype=dtype)
    stated = json.loads((tmp_path / "m" / "config.json").read_text())
    assert "quantization_config" not in stated
    found = load_params(tmp_path / "m", dtype="float32")
    expected = dequantize(dequantize(params, dtype or "float32"))
    assert_same_bits(found, expected)


@pytest.mark.parametrize("method", METHODS)
def test_packed_folder_packed_otherwise(folder, method):
    """Weights of that kind stay; the others are packed from their values."""
    stored = load_params(folder, dtype=AS_STORED)
    assert_same_bits(load_params(folder, dtype=method), quantize(stored, method))


def test_plain_params_as_stored_keep_their_dtype(tiny_model, tmp_path):
    tiny = tiny_model("gemma1_mqa")
    params = jax.tree.map(lambda w: w.astype(jnp.bfloat16), tiny.params)
    save_model(tmp_path / "a", tiny.model, params, dtype=AS_STORED)
    save_model(tmp_path / "b", tiny.model, params)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize("dtype", ["int8", "nf4", np.int32])
def test_dtypes_that_cannot_be_written(tiny_model, dtype, tmp_path):
    tiny = tiny_model("gemma1_mqa")
    with pytest.raises(ValueError, match=r"pack them with gm\.peft\.quantize"):
        save_model(tmp_path / "m", tiny.model, tiny.params, dtype=dtype)
    assert list(tmp_path.iterdir()) == []


def test_further_files(tiny_model, tmp_path):
    tiny = tiny_model("gemma1_mqa")
    save_model(tmp_path / "m", tiny.model, tiny.params, files={"tokenizer.model": b"x"})
    assert (tmp_path / "m" / "tokenizer.model").read_bytes() == b"x"


def test_a_packed_folder_says_what_it_holds(folder):
    stated = json.loads((folder / "config.json").read_text())
    quantization = stated["quantization_config"]
    assert quantization["quant_method"] == "gemma-jax"
    assert quantization["weights"][NAME] == {
        "shape": [64, 32],
        "bits": 4,
        "scale": "super",
        "zero": 0,
        "code": "integer",
    }
    assert load_file(folder / "model.safetensors")[NAME].dtype == np.uint8


@pytest.mark.parametrize(
    "quantization",
    [
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        {"quant_method": "gptq", "bits": 4},
        {"quant_method": "awq"},
        {"quant_method": "compressed-tensors"},
        {"bits": 4},
        "int8",
        [],
    ],
)
def test_weights_of_other_programs_are_refused(tiny_model, tmp_path, quantization):
    tiny = tiny_model("gemma1_mqa")
    save_model(tmp_path / "m", tiny.model, tiny.params)
    change_config(tmp_path / "m", lambda c: c.update(quantization_config=quantization))
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path / "m")
    is_object = isinstance(quantization, dict)
    method = quantization.get("quant_method") if is_object else quantization
    assert f"quantized by {method!r}, which cannot be read" in str(caught.value)
    assert "config.json" in str(caught.value)
    assert "int4" in str(caught.value)


def test_no_quantization_is_none(tiny_model, tmp_path):
    tiny = tiny_model("gemma1_mqa")
    save_model(tmp_path / "m", tiny.model, tiny.params)
    change_config(tmp_path / "m", lambda c: c.update(quantization_config=None))
    assert_same_bits(load_params(tmp_path / "m", dtype="float32"), dict(tiny.params))


@pytest.mark.parametrize(
    "fields",
    [
        {"bits": 3},
        {"bits": "4"},
        {"scale": "double"},
        {"scale": 1},
        {"code": "secret"},
        {"zero": 7},
        {"shape": [64]},
        {"shape": [64, 32, 1]},
        {"shape": [64, -32]},
        {"shape": [64, 2**40]},
        {"shape": "ab"},
    ],
    ids=str,
)
def test_kinds_that_no_kernel_knows(folder, fields):
    def edit(stated):
        stated["quantization_config"]["weights"][NAME] |= fields

    change_config(folder, edit)
    with pytest.raises(CheckpointError, match="packed weights that cannot be read"):
        open_checkpoint(folder)


@pytest.mark.parametrize("weights", [None, [], {NAME: 3}, {NAME: {}}])
def test_packed_weights_that_are_none(folder, weights):
    change_config(folder, lambda c: c["quantization_config"].update(weights=weights))
    with pytest.raises(CheckpointError, match="packed weights that cannot be read"):
        open_checkpoint(folder)


def test_missing_bytes_are_named(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors[NAME]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"lacks tensor '{NAME}', which"):
        open_checkpoint(folder)


@pytest.mark.parametrize("edit", [lambda a: a[1:], lambda a: a.astype(np.int8)])
def test_bytes_of_another_size_are_named(folder, edit):
    tensors = load_file(folder / "model.safetensors")
    tensors[NAME] = edit(tensors[NAME])
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"Tensor '{NAME}' in .* is [UI]8"):
        open_checkpoint(folder)


def test_shape_is_checked_against_the_config(folder):
    """A packed tensor of the wrong model is refused like a plain one."""
    change_config(folder, lambda c: c.update(intermediate_size=64))
    with pytest.raises(CheckpointError, match=r"has shape \(48, 32\); the config asks"):
        load_params(folder)


def test_bytes_without_a_config_are_no_weights(folder):
    change_config(folder, lambda c: c.pop("quantization_config"))
    with pytest.raises(CheckpointError, match="has shape"):
        load_params(folder)


def test_packed_weights_outlive_the_folder(folder, tiny_model):
    params = load_params(folder, dtype=AS_STORED)
    (folder / "model.safetensors").write_bytes(b"\xff" * 1_000_000)
    assert_same_bits(params, quantize(tiny_model("gemma2_gqa").params, "int4"))


@pytest.mark.slow
@pytest.mark.embedded
def test_the_embedded_model_survives_a_folder(embedded_path, tmp_path):
    """Kinds of GGUF files too, bit for bit."""
    model, params = load_model(embedded_path, dtype=AS_STORED)
    save_model(tmp_path / "m", model, params, dtype=AS_STORED)
    found_model, found = load_model(tmp_path / "m", dtype=AS_STORED)
    assert found_model == dataclasses.replace(model, checkpoint=None)
    assert_same_bits(found, params)
    kinds = {w.kind for w in flatten(found).values() if isinstance(w, QuantizedArray)}
    assert len(kinds) > 2
