"""The GGUF reader against the reader of the `gguf` package, and against damage."""

import struct

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from resident import file_backed_bytes, on_linux

from gemma.gm.ckpts import CheckpointError, GgufFile, Strings, read_gguf_metadata

Type = gguf.GGMLQuantizationType


def block_types() -> list[Type]:
    """Returns the types that the gguf package can dequantize."""
    found = []
    for type_ in Type:
        _, block_bytes = gguf.GGML_QUANT_SIZES[type_]
        try:
            gguf.quants.dequantize(np.zeros((1, block_bytes), np.uint8), type_)
            found.append(type_)
        except NotImplementedError:
            pass
    return found


def random_tensor(type_: Type, num_rows: int = 3, num_blocks: int = 2) -> np.ndarray:
    """Returns rows of random bytes: every bit pattern is a block of some numbers."""
    _, block_bytes = gguf.GGML_QUANT_SIZES[type_]
    if type_ in (Type.F32, Type.F16):
        num_blocks *= 32
    rng = np.random.default_rng(int(type_))
    return rng.integers(0, 256, (num_rows, num_blocks * block_bytes), np.uint8)


def write(path, tensors=(), keys=(), **options):
    """Writes a file with the gguf package's writer.

    Args:
      path: The file.
      tensors: `(name, bytes, type)` of each.
      keys: `(key, value, kind)` of each.
      **options: Of the writer.
    """
    writer = gguf.GGUFWriter(path, "gemma3", **options)
    for key, value, kind in keys:
        writer.add_key_value(key, value, kind)
    for name, data, type_ in tensors:
        writer.add_tensor(name, data, raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


# Random bytes make infinite scales, and infinity minus infinity.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("type_", block_types(), ids=lambda type_: type_.name)
def test_values_are_those_of_the_gguf_package(type_, tmp_path):
    packed = random_tensor(type_)
    path = write(tmp_path / "x.gguf", [("w", packed, type_)])
    file = GgufFile(path)
    (theirs,) = gguf.GGUFReader(path).tensors
    assert file.shapes == {"w": tuple(reversed(theirs.shape.tolist()))}
    assert file.file_of("w") == path
    np.testing.assert_array_equal(file.packed("w"), packed)
    expected = gguf.quants.dequantize(theirs.data, theirs.tensor_type)
    expected = np.asarray(expected, np.float32).reshape(file.shapes["w"])
    found = file.read("w", np.float32)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    narrow = file.read("w", np.float16)
    np.testing.assert_array_equal(narrow, expected.astype(np.float16))


def test_embedded_types_are_among_them():
    """Those of the embedded model."""
    needed = {Type.F32, Type.Q4_K, Type.Q5_0, Type.Q6_K, Type.Q8_0}
    assert needed <= set(block_types())


@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 4), (2, 2, 2, 3)])
def test_shapes_have_rows_first(shape, tmp_path):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    file = GgufFile(write(tmp_path / "x.gguf", [("w", values, None)]))
    np.testing.assert_array_equal(file.read("w", np.float32), values)


def test_long_tensor_is_read_in_slices(tmp_path):
    """Larger than a slice, and no multiple of one."""
    values = np.arange(2_000_000 * 3, dtype=np.float32).reshape(-1, 3)
    file = GgufFile(write(tmp_path / "x.gguf", [("w", values, None)]))
    np.testing.assert_array_equal(file.read("w", np.float32), values)


@on_linux
@pytest.mark.parametrize("is_packed", [False, True])
def test_no_pages_stay_in_memory(is_packed, tmp_path):
    """Those of the file count as memory of the process until they are given back."""
    blocks = np.zeros((32_000, 34 * 32), np.uint8)
    path = write(tmp_path / "x.gguf", [("w", blocks, Type.Q8_0)])
    file = GgufFile(path)
    before = file_backed_bytes()
    if is_packed:
        kind = file.packed_kind("w")
        assert kind is not None
        file.read_packed("w")
    else:
        file.read("w", np.float16)
    assert file_backed_bytes() - before < 4_000_000 < blocks.nbytes
    np.testing.assert_array_equal(file.packed("w"), blocks)


def test_several_tensors_and_an_alignment(tmp_path):
    tensors = [(f"t{i}", random_tensor(t), t) for i, t in enumerate(block_types())]
    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_custom_alignment(128)
    for name, data, type_ in tensors:
        writer.add_tensor(name, data, raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = GgufFile(path)
    assert file.metadata["general.alignment"] == 128
    for name, data, _ in tensors:
        np.testing.assert_array_equal(file.packed(name), data)


V = gguf.GGUFValueType
KEYS = [
    ("u8", 250, V.UINT8), ("i8", -5, V.INT8), ("u16", 60_000, V.UINT16),
    ("i16", -30_000, V.INT16), ("u32", 4_000_000_000, V.UINT32),
    ("i32", -2_000_000_000, V.INT32), ("u64", 2**63, V.UINT64),
    ("i64", -(2**62), V.INT64), ("f32", 0.5, V.FLOAT32), ("f64", 0.1, V.FLOAT64),
    ("yes", True, V.BOOL), ("no", False, V.BOOL), ("text", "Zoë ▁\n", V.STRING),
    ("empty text", "", V.STRING), ("ints", [1, -2, 3], V.ARRAY),
    ("floats", [0.5, -1.5], V.ARRAY), ("flags", [True, False], V.ARRAY),
    ("texts", ["a", "", "星"], V.ARRAY), ("bytes", b"\x00\xff", V.ARRAY),
    ("nested", [[1, 2], [3, 4]], V.ARRAY), ("key with a dot.x", 7, V.UINT32),
]  # fmt: skip


def plain(value):
    """Returns a value of a header with lists for its arrays."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [plain(v) for v in value] if isinstance(value, list | Strings) else value


def test_metadata_of_every_kind(tmp_path):
    path = write(tmp_path / "x.gguf", keys=KEYS)
    found = {key: plain(value) for key, value in read_gguf_metadata(path).items()}
    assert found.pop("general.architecture") == "gemma3"
    expected = {key: value for key, value, _ in KEYS} | {"bytes": [0, 255]}
    assert found == expected
    for key, value in expected.items():
        assert type(found[key]) is type(value), key


def test_metadata_is_that_of_the_gguf_package(tmp_path):
    keys = [key for key in KEYS if key[0] != "nested"]  # theirs flattens it
    path = write(tmp_path / "x.gguf", keys=keys)
    fields = gguf.GGUFReader(path).fields
    for key, value in GgufFile(path).metadata.items():
        assert fields[key].contents() == plain(value), key


@pytest.fixture
def small(tmp_path):
    """The bytes of a file with one of each thing, and where to write changed ones."""
    tensors = [
        ("a", random_tensor(Type.Q8_0), Type.Q8_0),
        ("b", random_tensor(Type.F32, num_blocks=1), Type.F32),
    ]
    path = write(tmp_path / "x.gguf", tensors, KEYS)
    return path.read_bytes(), tmp_path / "damaged.gguf"


def read_all(path):
    file = GgufFile(path)
    return [file.read(name, np.float32) for name in file.tensors]


def test_truncated_anywhere(small):
    """Every shorter file is refused, wherever it ends, with its name."""
    data, damaged = small
    damaged.write_bytes(data)
    end = max(
        t.offset + int(np.prod(t.packed_shape))
        for t in GgufFile(damaged).tensors.values()
    )
    for length in range(end):
        damaged.write_bytes(data[:length])
        with pytest.raises(CheckpointError) as caught:
            GgufFile(damaged)
        assert str(damaged) in str(caught.value)


def test_cut_tensor_is_named(small):
    data, damaged = small
    damaged.write_bytes(data[:-40])
    with pytest.raises(CheckpointError, match="truncated: tensor 'b' ends at byte"):
        GgufFile(damaged)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", [0x00, 0x7F, 0x80, 0xFF])
def test_any_damaged_byte_is_refused_or_harmless(small, value):
    """A header is never believed: no endless loop, no huge array, no other error."""
    data, damaged = small
    for place in range(len(data)):
        damaged.write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
        try:
            read_all(damaged)
        except CheckpointError as error:
            assert str(damaged) in str(error)  # noqa: PT017


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_bytes_are_refused_or_harmless(tmp_path):
    path = tmp_path / "x.gguf"

    @given(st.binary(max_size=200))
    def check(tail):
        path.write_bytes(b"GGUF" + struct.pack("<IQ", 3, 1) + tail)
        try:
            read_all(path)
        except CheckpointError as error:
            assert str(path) in str(error)  # noqa: PT017

    check()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"GGM", "truncated"),
        (b"PK\x03\x04 something else", r"not a GGUF file: it begins with b'PK"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "GGUF version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "GGUF version 50331648"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2),
            "states 1,152,921,504,606,846,976 tensors",
        ),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63), "and 9,223,372,036,854"),
    ],
)
def test_what_is_no_gguf_file(content, message, tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        GgufFile(path)
    assert str(path) in str(caught.value)


def header(num_tensors: int, num_keys: int, *parts: bytes) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, num_tensors, num_keys) + b"".join(parts)


def text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            header(0, 1, text(b"k"), struct.pack("<IIQ", 9, 4, 2**61)),
            "asks for 9,223,372,036,854,775,808 bytes",
        ),
        (header(0, 1, struct.pack("<Q", 2**62), b"k" * 20), "asks for"),
        (header(0, 1, text(b"key"), struct.pack("<I", 77)), "key 'key' .* kind 77"),
        (
            header(0, 1, text(b"k"), *[struct.pack("<IQ", 9, 1)] * 20),
            "truncated or damaged|unknown kind",
        ),
        (
            header(1, 0, text(b"w"), struct.pack("<IQIQ", 1, 32, 200, 0)),
            "tensor 'w' has block type 200",
        ),
        (
            header(1, 0, text(b"w"), struct.pack("<IQIQ", 1, 33, 8, 0)),
            r"tensor 'w' of type Q8_0 has shape \(33,\)",
        ),
        (
            header(1, 0, text(b"w"), struct.pack("<IQIQ", 1, 0, 0, 0)),
            r"tensor 'w' of type F32 has shape \(0,\)",
        ),
        (
            header(1, 0, text(b"w"), struct.pack("<IQIQ", 0, 32, 8, 0)),
            "tensor 'w' has 0 dimensions",
        ),
        (
            header(1, 0, text(b"w"), struct.pack("<IQIQ", 1, 2**62, 0, 0)),
            "truncated: tensor 'w'",
        ),
        (
            header(1, 0, text(b"w"), struct.pack("<IQIQ", 1, 8, 0, 2**63)),
            "truncated: tensor 'w'",
        ),
        (
            header(
                0, 1, text(b"general.alignment"), struct.pack("<II", 4, 0), b"\0" * 8
            ),
            "general.alignment is 0",
        ),
    ],
)
def test_absurd_headers(content, message, tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        GgufFile(path)


def test_type_without_dequantizer_names_the_tensor(tmp_path):
    values = np.zeros((2, 256), np.int8)
    path = write(tmp_path / "x.gguf", [("w", values, Type.I8)])
    with pytest.raises(CheckpointError, match="tensor 'w' is packed as I8"):
        GgufFile(path).read("w", np.float32)
