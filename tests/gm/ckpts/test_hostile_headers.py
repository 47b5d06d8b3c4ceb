"""Readers on files that somebody made to do harm, one by one; see `hostile`."""

import itertools
import json
import pickle
import shutil
import struct
from pathlib import Path

import pytest

pytest.importorskip("orbax.checkpoint")

import gguf_files
from hostile import (
    FILE,
    GGUF_HEADERS,
    TABLE,
    gguf_header,
    gguf_tensor,
    join_safetensors,
    read_with,
    refusal,
    split_safetensors,
    write,
)

NORM = "model.norm.weight"


@pytest.fixture
def folder(tmp_path):
    """A function from a format to a folder of it."""

    def make(kind):
        write(tmp_path / kind, kind)
        return tmp_path / kind

    return make


@pytest.mark.parametrize("length", [0, 1, 7, 2**31, 99_999_999, 2**63, 2**64 - 1])
def test_safetensors_header_that_lies_about_its_length(folder, length):
    path = folder("huggingface")
    whole = (path / FILE).read_bytes()
    changed = struct.pack("<Q", length) + whole[8:]
    assert "is truncated or not a safetensors file" in read_with(path, FILE, changed)


def overlapping(header):
    first, second = itertools.islice((v for k, v in header.items() if k != NORM), 2, 4)
    second["data_offsets"] = first["data_offsets"]


def beyond_the_file(header):
    begin, end = header[NORM]["data_offsets"]
    header[NORM]["data_offsets"] = [begin + 10**9, end + 10**9]


def backwards(header):
    header[NORM]["data_offsets"].reverse()


def larger_than_its_bytes(header):
    header[NORM]["shape"] = [2**40, 2**40]


def below_zero(header):
    header[NORM]["data_offsets"] = [-128, 0]


HEADERS = [overlapping, beyond_the_file, backwards, larger_than_its_bytes, below_zero]


@pytest.mark.parametrize("change", HEADERS, ids=lambda change: change.__name__)
def test_safetensors_header_of_tensors_that_cannot_be(folder, change):
    path = folder("huggingface")
    header, tensors = split_safetensors((path / FILE).read_bytes())
    change(header)
    changed = join_safetensors(json.dumps(header).encode(), tensors)
    assert "is truncated or not a safetensors file" in read_with(path, FILE, changed)


@pytest.mark.parametrize(
    "header",
    [
        b"\xff\xfe{}",
        b"[" * 10**5,
        b'{"a":' * 10**5,
        b"[" * 10**5 + b"]" * 10**5,
        b"null",
    ],
    ids=["not UTF-8", "deep lists", "deep objects", "whole deep lists", "null"],
)
def test_safetensors_header_that_is_none(folder, header):
    path = folder("huggingface")
    changed = join_safetensors(header, b"")
    assert "is truncated or not a safetensors file" in read_with(path, FILE, changed)


def test_a_safetensors_name_that_is_there_twice(folder):
    """The bytes of the first are those of no tensor then."""
    path = folder("huggingface")
    header, tensors = split_safetensors((path / FILE).read_bytes())
    text = json.dumps(header).replace("model.layers.0.input_layernorm.weight", NORM)
    changed = join_safetensors(text.encode(), tensors)
    assert read_with(path, FILE, changed)


@pytest.mark.parametrize(
    ("dtype", "num_bits"),
    [
        ("I64", 64), ("C64", 64), ("I32", 32), ("I16", 16), ("U8", 8), ("BOOL", 8),
        ("F8_E4M3", 8), ("F8_E5M2", 8), ("F8_E8M0", 8), ("F4", 4),
    ],
)  # fmt: skip
def test_numbers_that_are_no_weights(folder, dtype, num_bits):
    """Narrow ones have scales in another tensor: without them they mean nothing."""
    path = folder("huggingface")
    header, _ = split_safetensors((path / FILE).read_bytes())
    place = 0
    for name, stated in header.items():
        if name != "__metadata__":
            begin, end = stated["data_offsets"]
            size = (end - begin) * num_bits // 32
            stated |= {"dtype": dtype, "data_offsets": [place, place + size]}
            place += size
    changed = join_safetensors(json.dumps(header).encode(), bytes(place))
    assert f"is of {dtype}; floats" in read_with(path, FILE, changed)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was opened",))


PICKLED = {i: pickle.dumps(Bomb(), protocol=i) for i in range(2, 6)}


@pytest.mark.parametrize(
    "content", [*PICKLED.values(), b"PK\x03\x04" + bytes(99)], ids=[*PICKLED, "zip"]
)
def test_pickle_with_the_name_of_safetensors(folder, content):
    """Where a pickle is expected nobody looks at the name, so people rename them."""
    path = folder("huggingface")
    message = read_with(path, FILE, content)
    assert f"{FILE} is a pickle" in message
    assert "take the model's .safetensors files, or convert it" in message


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "gemma-2b.ckpt"])
def test_folder_of_pickles(folder, name):
    path = folder("huggingface")
    (path / FILE).unlink()
    (path / name).write_bytes(PICKLED[2])
    assert f"holds no .safetensors file. {name} is a pickle" in refusal(path)


@pytest.mark.parametrize(
    "name", ["", "..", ".", "x\0", "\ud800", "/etc/passwd", f"{FILE}/", "a" * 5000]
)
def test_index_that_names_no_file(folder, name):
    path = folder("huggingface")
    index = path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {NORM: name}}))
    message = refusal(path)
    assert message.startswith(f"{index} names ")
    assert message.isprintable()


def test_index_of_deep_lists(folder):
    path = folder("huggingface")
    index = path / "model.safetensors.index.json"
    index.write_text("[" * 10**5 + "]" * 10**5)
    assert "is not a safetensors index" in refusal(path)


def test_folder_with_the_name_of_a_file(folder):
    path = folder("huggingface")
    (path / FILE).unlink()
    (path / FILE).mkdir()
    assert "holds no .safetensors file" in refusal(path)


@pytest.mark.parametrize("value", [None, 0, -1.0, 2.0, "x", [], float("nan")])
def test_norms_without_an_epsilon(folder, value):
    path = folder("huggingface")
    stated = json.loads((path / "config.json").read_bytes())
    changed = json.dumps(stated | {"rms_norm_eps": value}).encode()
    assert "norm_eps" in read_with(path, "config.json", changed)


@pytest.mark.parametrize(("content", "says"), GGUF_HEADERS.values(), ids=GGUF_HEADERS)
def test_gguf_header_that_cannot_be(tmp_path, content, says):
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    assert says in refusal(path)


@pytest.mark.parametrize("value", ["x", -1.0, 0.0, float("nan"), float("inf")])
@pytest.mark.parametrize(
    "key",
    [
        "attention.sliding_window",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "rope.freq_base",
        "attention.layer_norm_rms_epsilon",
        "attention.head_count",
    ],
)
def test_gguf_keys_that_no_formula_takes(tmp_path, key, value):
    path = tmp_path / "x.gguf"
    gguf_files.write(path, gguf_files.MODELS["gemma2"], {}, keys={key: value})
    assert refusal(path).startswith(f"{path} does not describe a Gemma: ")


def test_a_name_as_long_as_a_book_is_not_shown_whole(tmp_path):
    name = b"\x1b[2J" * 200_000
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf_header(1, 0, gguf_tensor(name, 2**63)))
    message = refusal(path)
    assert message.startswith(f"{path} is truncated: tensor '")
    assert message.isprintable()


def test_gguf_that_is_a_folder(tmp_path):
    (tmp_path / "x.gguf").mkdir()
    assert "is not a checkpoint" in refusal(tmp_path)


def test_array_in_chunks_larger_than_itself(folder):
    """Tensorstore ends the process where it finds no memory for a chunk."""
    path = folder("zarr2")
    stated = json.loads((path / TABLE / ".zarray").read_bytes())
    stated["chunks"] = [2**40, 2**20]
    changed = json.dumps(stated).encode()
    message = read_with(path, f"{TABLE}/.zarray", changed)
    assert "cannot be opened: shape is (70, 32), but that of chunks is" in message


def test_array_larger_than_its_files(folder):
    """What is all zeros may be left out, so a few bytes can stand for much."""
    path = folder("zarr2")
    shutil.rmtree(path / TABLE)
    (path / TABLE).mkdir()
    stated = {
        "zarr_format": 2, "shape": [2**29, 32], "chunks": [1, 32], "dtype": "<f4",
        "compressor": None, "fill_value": 0, "filters": None, "order": "C",
    }  # fmt: skip
    (path / TABLE / ".zarray").write_text(json.dumps(stated))
    message = refusal(path)
    assert "is damaged: it states arrays of 68,7" in message


@pytest.mark.parametrize("deep", ["[" * 200_000 + "]" * 200_000, '{"a":' * 200_000])
@pytest.mark.parametrize("name", [f"{TABLE}/.zarray", "_METADATA", "config.json"])
def test_deep_json_beside_arrays(folder, name, deep):
    """Two hundred thousand brackets overflow the stack of tensorstore's parser."""
    path = folder("zarr2")
    (path / name).touch()
    message = read_with(path, name, deep.encode())
    assert Path(name).name in message or "embedder/input_embedding" in message


@pytest.mark.parametrize(
    "content",
    [b"[" * 200_000, b'{"model_type": ' + b"9" * 10_000 + b"}", b"\xff\xfe"],
    ids=["deep", "long number", "no text"],
)
def test_config_of_a_folder_that_cannot_be_parsed(folder, content):
    assert "is not JSON" in read_with(folder("huggingface"), "config.json", content)


def test_config_that_is_a_folder(folder):
    path = folder("huggingface")
    (path / "config.json").unlink()
    (path / "config.json").mkdir()
    assert "config.json" in refusal(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("final_logit_softcapping", "x"),
        ("final_logit_softcapping", -1.0),
        ("rope_local_base_freq", -1.0),
        ("query_pre_attn_scalar", -1),
        ("sliding_window", -5),
    ],
)
def test_config_with_numbers_that_no_formula_takes(folder, field, value):
    path = folder("huggingface")
    stated = json.loads((path / "config.json").read_bytes()) | {field: value}
    said = read_with(path, "config.json", json.dumps(stated).encode())
    assert "config.json" in said
