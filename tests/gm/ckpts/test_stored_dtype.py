"""Weights of 16 bits stay so in memory, on disk in either format."""

import dataclasses
import re

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma import gm
from gemma.gm.ckpts import (
    AS_STORED,
    GgufFile,
    _load,
    load_model,
    open_checkpoint,
    save_model,
)
from gemma.gm.kernels import ALONE
from gemma.gm.nn import Transformer, gemma3_config
from gemma.gm.text._decode import decode_step, decode_steps
from gemma.gm.text._prefill import feed_chunk
from gemma.gm.text._programs import choice_struct
from gemma.gm.weights import flatten

NARROW = [jnp.bfloat16, jnp.float16]
with_kernels = pytest.mark.skipif(
    not gm.kernels.available() or jax.default_backend() != "cpu",
    reason="the kernels were not built, or are not used on this device",
)


@pytest.fixture(scope="module", params=NARROW, ids=lambda d: d.__name__)
def folder(request, tiny_model, tmp_path_factory):
    """A Hugging Face folder and the dtype of its tensors."""
    tiny = tiny_model("gemma3_mqa")
    path = tmp_path_factory.mktemp("narrow") / "model"
    save_model(path, tiny.model, tiny.params, dtype=request.param)
    return path, request.param


def test_folder_as_stored(folder):
    """Matrices as in the file; norms, which are added to 1, in float32."""
    path, dtype = folder
    checkpoint = open_checkpoint(path)
    params = flatten(checkpoint.read_params(dtype=AS_STORED))
    exact = flatten(checkpoint.read_params(dtype=jnp.float32))
    structs = flatten(checkpoint.param_structs(AS_STORED))
    for name, weight in params.items():
        assert weight.dtype == (jnp.float32 if weight.ndim == 1 else dtype), name
        assert weight.dtype == structs[name].dtype
        np.testing.assert_array_equal(weight.astype(jnp.float32), exact[name])


def test_weights_go_to_the_device_in_any_batches(folder, monkeypatch):
    checkpoint = open_checkpoint(folder[0])
    together = flatten(checkpoint.read_params(dtype=AS_STORED))
    monkeypatch.setattr(_load, "_PUT_BYTES", 1000)
    seen = []
    batched = flatten(
        checkpoint.read_params(
            dtype=AS_STORED, progress=lambda done, total: seen.append((done, total))
        )
    )
    assert batched.keys() == together.keys()
    for name, weight in batched.items():
        assert isinstance(weight, jax.Array)
        np.testing.assert_array_equal(weight, together[name])
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


@with_kernels
def test_folder_by_default(folder):
    path, dtype = folder
    model, params = load_model(path)
    assert params["embedder"]["input_embedding"].dtype == dtype
    assert model.activation_dtype(params) == jnp.float32
    assert model.cache_dtype(params) == jnp.float16
    chosen = dataclasses.replace(model, dtype=jnp.bfloat16)
    assert chosen.activation_dtype(params) == jnp.bfloat16
    assert chosen.cache_dtype(params) == jnp.bfloat16


def test_activations_are_those_of_the_table_without_kernels(folder, monkeypatch):
    monkeypatch.setattr(gm.kernels, "available", lambda: False)
    model, params = load_model(folder[0], dtype=jnp.bfloat16)
    assert model.activation_dtype(params) == jnp.bfloat16
    assert model.cache_dtype(params) == jnp.bfloat16


def test_float32_folder_stays_float32(tiny_model, tmp_path):
    tiny = tiny_model("gemma3_mqa")
    save_model(tmp_path / "model", tiny.model, tiny.params)
    model, params = load_model(tmp_path / "model", dtype=AS_STORED)
    assert model.cache_dtype(params) == jnp.float32
    assert {w.dtype for w in flatten(params).values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("stored", ["BF16", "F16", "F32", "Q8_0"])
@pytest.mark.parametrize("dtype", [*NARROW, jnp.float32])
def test_tensor_of_a_gguf_file(stored, dtype, tmp_path):
    """Bit for bit, from any type to any dtype."""
    values = np.random.default_rng(0).normal(size=(7, 64)).astype(np.float32)
    type_ = gguf.GGMLQuantizationType[stored]
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "gemma3")
    writer.add_tensor("w", gguf.quants.quantize(values, type_), raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = GgufFile(tmp_path / "m.gguf")
    narrow = {"BF16": jnp.bfloat16, "F16": jnp.float16}
    assert file.dtype_of("w") == narrow.get(stored, jnp.float32)
    exact = gguf.quants.dequantize(gguf.quants.quantize(values, type_), type_)
    found = file.read("w", dtype)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, exact.astype(dtype))


MEDIUM = gemma3_config(
    num_layers=2, embed_dim=256, hidden_dim=1024, num_heads=4, num_kv_heads=2,
    head_dim=128, vocab_size=2048, max_positions=64,
)  # fmt: skip


def shape(*dims, dtype=jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(dims, dtype)


def decode_structs(batch):
    tokens, active = shape(batch, dtype=jnp.int32), shape(batch, dtype=jnp.bool_)
    return tokens, active, *choice_struct(batch, MEDIUM.vocab_size)


def lower_decode(batch, model, params, cache):
    return decode_step.lower(model, params, cache, *decode_structs(batch))


def lower_decode_loop(batch, model, params, cache):
    ends = shape(4, dtype=jnp.int32), shape(dtype=jnp.int32), ALONE
    return decode_steps.lower(model, params, cache, *decode_structs(batch), *ends)


def lower_prefill(batch, model, params, cache):
    tokens, mask = shape(batch, 4, dtype=jnp.int32), shape(batch, 4, dtype=jnp.bool_)
    return feed_chunk.lower(model, params, cache, tokens, mask)


@with_kernels
@pytest.mark.slow
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("lower", [lower_decode, lower_decode_loop, lower_prefill])
def test_no_wide_copy_of_a_weight_is_made(lower, batch, dtype):
    """What a call takes beside weights and cache is less than any weight in float32."""
    model = Transformer(MEDIUM)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), dtype))
    assert model.activation_dtype(params) == jnp.float32
    cache = jax.eval_shape(lambda: model.init_cache(batch_size=batch, cache_length=16))
    compiled = lower(batch, model, params, cache).compile()
    smallest = min(w.size for w in flatten(params).values() if w.ndim > 1)
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * smallest
    products = re.findall(
        r"custom_call_target=\"gemma_float_matmul\"", compiled.as_text()
    )
    # Prefill ends with the keys and values of the last layer, decode with the head.
    expected = 7 * MEDIUM.num_layers + (-4 if lower is lower_prefill else 1)
    assert len(products) == expected
