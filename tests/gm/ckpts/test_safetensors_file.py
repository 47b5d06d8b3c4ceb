"""One safetensors file, whoever wrote it."""

import json

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from resident import file_backed_bytes, on_linux
from safetensors.numpy import save_file

from gemma.gm.ckpts._safetensors import SafetensorsFolder
from gemma.gm.ckpts._safetensors_file import SafetensorsFile

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]


def write(path, header, data: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize("to", DTYPES, ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("stored", DTYPES, ids=lambda d: np.dtype(d).name)
def test_rows_are_converted(tmp_path, stored, to):
    values = np.random.default_rng(0).normal(size=(7, 3, 2)).astype(stored)
    save_file({"w": values, "other": values[::-1].copy()}, tmp_path / "x.safetensors")
    out = np.empty((4, 3, 2), to)
    SafetensorsFile(tmp_path / "x.safetensors").read_into("w", out, 2)
    np.testing.assert_array_equal(out, values[2:6].astype(to))


def test_tensors_may_begin_anywhere(tmp_path):
    """The format does not ask for numbers at multiples of their size."""
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    header = {
        "bytes": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "w": {"dtype": "F32", "shape": [3, 2], "data_offsets": [1, 25]},
    }
    for more in (0, 1, 2, 3):
        padded = header | {"__metadata__": {"": "x" * more}}
        write(tmp_path / "x.safetensors", padded, b"\x07" + values.tobytes())
        out = np.empty((2, 2), np.float32)
        SafetensorsFile(tmp_path / "x.safetensors").read_into("w", out, 1)
        np.testing.assert_array_equal(out, values[1:])


def test_a_file_that_is_replaced_is_read_as_it_was(tmp_path):
    """So that a checkpoint can be written over itself."""
    path = tmp_path / "x.safetensors"
    save_file({"w": np.full((2, 2), 1.0)}, path)
    file = SafetensorsFile(path)
    save_file({"w": np.full((2, 2), 2.0)}, tmp_path / "new")
    (tmp_path / "new").replace(path)
    out = np.empty((2, 2))
    file.read_into("w", out, 0)
    assert (out == 1.0).all()


@on_linux
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_memory_holds_a_tensor_once(tmp_path, dtype):
    """Neither the pages of the file stay, nor does JAX copy what was read."""
    values = np.ones((40_000, 512), ml_dtypes.bfloat16)
    save_file({"w": values}, tmp_path / "model.safetensors")
    folder = SafetensorsFolder(tmp_path)
    before = file_backed_bytes()
    read = folder.read("w", dtype)
    assert file_backed_bytes() - before < 4_000_000 < values.nbytes
    placed = jax.device_put(read, jax.devices("cpu")[0])
    assert placed.unsafe_buffer_pointer() == read.ctypes.data
    assert (read == 1).all()
