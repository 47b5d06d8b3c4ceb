"""Safetensors files that we write, as the safetensors package reads them."""

import struct
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open

from gemma.gm.ckpts import save_weights
from gemma.gm.nn import Transformer, gemma1_config
from gemma.gm.weights import flatten

MODEL = Transformer(
    gemma1_config(
        num_layers=12,
        embed_dim=64,
        hidden_dim=256,
        num_heads=2,
        num_kv_heads=1,
        head_dim=32,
        vocab_size=256,
        max_positions=64,
    )
)
SHAPES = {ours: spec.shape for ours, spec in flatten(MODEL.specs()).items()}


def weight(ours):
    return np.full(SHAPES[ours], len(ours), np.float32)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_another_reader_finds_the_same(tmp_path, dtype):
    save_weights(tmp_path / "m", MODEL, weight, dtype=dtype)
    with safe_open(tmp_path / "m" / "model.safetensors", framework="np") as file:
        assert file.metadata() == {"format": "pt"}
        assert len(file.keys()) == len(SHAPES)
        found = file.get_tensor("model.layers.3.mlp.up_proj.weight")
    expected = weight("layer_3/mlp/up").astype(
        np.dtype(getattr(ml_dtypes, dtype, dtype))
    )
    np.testing.assert_array_equal(found, expected)


def test_tensors_begin_where_they_are_aligned(tmp_path):
    save_weights(tmp_path / "m", MODEL, weight, dtype="float32")
    begin = (tmp_path / "m" / "model.safetensors").read_bytes()[:8]
    assert (8 + struct.unpack("<Q", begin)[0]) % 64 == 0


def test_memory_holds_a_tensor_and_not_a_file(tmp_path):
    """A file takes a megabyte, the largest of its tensors 64 KB."""
    largest = max(4 * int(np.prod(shape)) for shape in SHAPES.values())
    save_weights(tmp_path / "warm", MODEL, weight, dtype="float32")
    tracemalloc.start()
    save_weights(tmp_path / "m", MODEL, weight, dtype="float32")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "m" / "model.safetensors").stat().st_size > 20 * largest
    assert peak < 8 * largest


def test_numbers_that_are_not_read_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="float8_e4m3fn cannot be written"):
        save_weights(tmp_path / "m", MODEL, weight, dtype=ml_dtypes.float8_e4m3fn)
    assert not (tmp_path / "m").exists()
