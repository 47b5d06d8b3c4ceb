"""Whole models in GGUF files."""

import dataclasses

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gguf_files import MODELS, SIZES, their_tensors, write

from gemma import gm
from gemma.gm.ckpts import AS_STORED, CheckpointError, load_config, load_model
from gemma.gm.ckpts._gguf_metadata import config_metadata
from gemma.gm.nn import (
    RopeConfig,
    Transformer,
    gemma2_config,
    gemma3_config,
)
from gemma.gm.weights import QuantizedArray, flatten


@pytest.fixture(params=MODELS)
def config(request):
    return MODELS[request.param]


@pytest.fixture
def params(config, random_params):
    return random_params(Transformer(config), jax.random.key(3))


def test_loaded_is_what_was_written(config, params, tmp_path):
    tensors = their_tensors(params)
    path = write(tmp_path / "m.gguf", config, tensors)
    model, loaded = load_model(path)
    assert model.config == config
    assert model.checkpoint == path
    for name, weight in flatten(loaded).items():
        expected = np.asarray(flatten(params)[name])
        if weight.ndim == 1:  # one was added and taken away
            np.testing.assert_allclose(weight, expected, atol=2e-7, err_msg=name)
        else:
            np.testing.assert_array_equal(weight, expected, err_msg=name)


@pytest.mark.parametrize("name", ["gemma", "gemma2"])
def test_linear_rope_scaling_of_gemma_1_and_2(name, random_params, tmp_path):
    config, keys = MODELS[name], {"rope.freq_base": 5e3}
    keys |= {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}
    params = random_params(Transformer(config), jax.random.key(3))
    path = write(tmp_path / "m.gguf", config, their_tensors(params), keys=keys)
    read = load_config(path)
    assert {x.rope for x in read.layers} == {RopeConfig(theta=5e3, factor=4.0)}
    stated = config_metadata(read)
    assert stated[f"{name}.rope.scaling.factor"] == 4.0


@pytest.mark.parametrize(("context", "factor"), [(131_072, 8.0), (32_768, 1.0)])
def test_files_of_ollama(context, factor, random_params, tmp_path):
    """Blobs without a suffix, keys of their own, and no word of the scaling."""
    config = MODELS["gemma3"]
    params = random_params(Transformer(config), jax.random.key(3))
    absent = ("rope.freq_base", "rope.scaling.type", "rope.scaling.factor")
    keys = dict.fromkeys((*absent, "attention.layer_norm_rms_epsilon"))
    keys |= {"context_length": context}
    keys |= {"rope.global.freq_base": 5e5, "rope.local.freq_base": 2e4}
    path = write(tmp_path / "sha256-0a", config, their_tensors(params), keys=keys)
    read = load_model(path)[0].config
    assert read.layers[5].rope == RopeConfig(theta=5e5, factor=factor)
    assert read.layers[0].rope == RopeConfig(theta=2e4)
    assert read.layers[0].norm_eps == 1e-6


@pytest.mark.parametrize("change", [-1, 1])
def test_rows_are_those_of_the_embedding(change, config, params, tmp_path):
    """Ollama's tokenizers have the image token where the embedding has no row, or less."""
    num_tokens = config.vocab_size + change
    path = tmp_path / "sha256-0b"
    write(path, config, their_tensors(params), num_tokens=num_tokens)
    assert load_model(path)[0].config.vocab_size == config.vocab_size


def test_other_rope_scalings_are_refused(random_params, tmp_path):
    config = MODELS["gemma2"]
    params = random_params(Transformer(config), jax.random.key(3))
    keys = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0}
    path = write(tmp_path / "m.gguf", config, their_tensors(params), keys=keys)
    with pytest.raises(CheckpointError, match=r"rope.scaling.type 'yarn' is none of"):
        load_config(path)


def test_a_head_that_is_the_embedding_is_tied(params, config, tmp_path):
    tensors = their_tensors(params)
    tensors["output.weight"] = tensors["token_embd.weight"]
    assert load_model(write(tmp_path / "m.gguf", config, tensors))[0].config == config


def test_a_head_of_its_own_is_read(params, config, tmp_path):
    tensors = their_tensors(params)
    tensors["output.weight"] = head = tensors["token_embd.weight"] + np.float32(1)
    model, found = load_model(write(tmp_path / "m.gguf", config, tensors))
    assert model.config == dataclasses.replace(config, has_head=True)
    np.testing.assert_array_equal(found["embedder"]["head"], head)


def test_packed_tensors(params, config, tmp_path):
    """Each tensor in a type of its own; blocks of 32 go through rows of 64, 96 and 128."""
    tensors = their_tensors(params)
    cycle = ["Q8_0", "Q4_0", "F16", "Q5_1", "BF16", "Q4_1", "Q5_0"]
    matrices = [name for name, values in tensors.items() if values.ndim == 2]
    types = {
        name: gguf.GGMLQuantizationType[cycle[i % len(cycle)]]
        for i, name in enumerate(matrices)
    }
    path = write(tmp_path / "m.gguf", config, tensors, types=types)
    unpacked = {
        name: gguf.quants.dequantize(gguf.quants.quantize(values, t), t)
        if (t := types.get(name)) is not None
        else values
        for name, values in tensors.items()
    }
    loaded = load_model(path, dtype=jnp.float32)[1]
    for name, values in their_tensors(loaded).items():
        np.testing.assert_allclose(values, unpacked[name], atol=2e-7, err_msg=name)
    as_stored = flatten(load_model(path, dtype=AS_STORED)[1])
    num_packed = sum(isinstance(w, QuantizedArray) for w in as_stored.values())
    assert num_packed == sum(t.name.startswith("Q") for t in types.values())
    for name, weight in flatten(loaded).items():
        same = as_stored[name]
        same = same.dequantize() if isinstance(same, QuantizedArray) else same
        np.testing.assert_array_equal(same, weight, err_msg=name)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_norms_are_shifted_before_they_are_rounded(dtype, params, config, tmp_path):
    """1.001 is 1 in bfloat16; 0.001 is not 0."""
    path = write(tmp_path / "m.gguf", config, their_tensors(params))
    loaded = load_model(path, dtype=dtype)[1]
    wide = load_model(path)[1]
    for name, weight in flatten(loaded).items():
        expected = flatten(wide)[name].astype(dtype)
        np.testing.assert_array_equal(weight, expected, err_msg=name)


def test_folder_with_one_file(config, params, tmp_path):
    path = write(tmp_path / "m.gguf", config, their_tensors(params))
    assert load_config(tmp_path) == load_config(path) == config
    path.rename(tmp_path / "n.gguf")
    write(path, config, their_tensors(params))
    with pytest.raises(CheckpointError, match=r"2 \.gguf files: name one"):
        load_config(tmp_path)


def test_progress_counts_to_the_end(config, params, tmp_path):
    calls = []
    path = write(tmp_path / "m.gguf", config, their_tensors(params))
    load_model(path, progress=lambda done, total: calls.append((done, total)))
    num_bytes = 4 * gm.weights.num_params(Transformer(config).specs())
    assert {total for _, total in calls} == {num_bytes}
    assert calls[-1][0] == num_bytes
    assert calls == sorted(calls)


@pytest.mark.parametrize(
    ("family", "num_layers", "scalar"), [("gemma2", 46, 16), ("gemma3", 62, 16)]
)
def test_the_largest_models_scale_by_width(family, num_layers, scalar, tmp_path):
    """27B divides by D / N; the file does not say, but for its number of layers."""
    make = {"gemma2": gemma2_config, "gemma3": gemma3_config}[family]
    config = make(num_layers=num_layers, query_pre_attn_scalar=scalar, **SIZES)
    path = write(tmp_path / "m.gguf", config, {})
    assert load_config(path).layers[0].query_scale == scalar**-0.5
    path.unlink()
    smaller = make(num_layers=num_layers - 1, **SIZES)
    path = write(tmp_path / "m.gguf", smaller, {})
    assert load_config(path).layers[0].query_scale == 32**-0.5


MODEL = MODELS["gemma3"]


@pytest.fixture
def tensors(random_params):
    return their_tensors(random_params(Transformer(MODEL), jax.random.key(3)))


NAME = "blk.6.attn_k_norm.weight"


def test_missing_tensor_is_named(tensors, tmp_path):
    del tensors[NAME]
    path = write(tmp_path / "m.gguf", MODEL, tensors)
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    assert str(caught.value) == (
        f"{path} lacks tensor '{NAME}', which a gemma3 of 7 layers needs."
    )


def test_unknown_tensor_is_named(tensors, tmp_path):
    tensors["blk.7.attn_norm.weight"] = tensors[NAME]
    path = write(tmp_path / "m.gguf", MODEL, tensors)
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    assert str(caught.value) == (
        f"{path} holds tensor 'blk.7.attn_norm.weight', which is no part of a gemma3 "
        "of 7 layers."
    )


def test_tensor_of_another_shape_is_named(tensors, tmp_path):
    name = "blk.0.attn_q.weight"
    tensors[name] = tensors[name][:-1]
    path = write(tmp_path / "m.gguf", MODEL, tensors)
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    assert str(caught.value) == (
        f"Tensor '{name}' in {path} has shape (127, 64); the config asks for (128, 64)."
    )


def test_unknown_architecture(tmp_path):
    path = write(tmp_path / "m.gguf", MODEL, {}, architecture="llama")
    with pytest.raises(CheckpointError, match="of architecture 'llama'; gemma, gemma2"):
        load_model(path)


@pytest.mark.parametrize("key", ["block_count", "attention.key_length"])
def test_missing_key_is_named(key, tmp_path):
    path = write(tmp_path / "m.gguf", MODEL, {}, keys={key: None})
    with pytest.raises(CheckpointError, match=f"lacks the key 'gemma3.{key}'"):
        load_model(path)


@pytest.mark.parametrize("value", [0, 2**32 - 1, "many", 1.5])
@pytest.mark.parametrize(
    "key",
    [
        "block_count", "embedding_length", "feed_forward_length", "context_length",
        "attention.head_count", "attention.head_count_kv", "attention.key_length",
    ],
)  # fmt: skip
def test_absurd_sizes_are_refused(key, value, tensors, tmp_path):
    """Without making a model of them first."""
    path = write(tmp_path / "m.gguf", MODEL, tensors, keys={key: value})
    with pytest.raises(CheckpointError):
        load_model(path)
