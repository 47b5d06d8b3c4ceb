"""Files that are damaged or made to do harm, and the law that readers keep with them.

Whatever is in them, a checkpoint is read or refused: with an error for a person, in one
line, soon, and without more memory than a small file can be worth.
"""

import copy
import functools
import json
import struct
import time
import tracemalloc
from pathlib import Path

import gguf
import gguf_files
import jax
from hypothesis import strategies as st
from orbax_trees import nested_tree, write_orbax

from gemma.gm.ckpts import CheckpointError, open_checkpoint, save_model
from gemma.gm.nn import Transformer, gemma3_config

MAX_BYTES, MAX_CPU_S, MAX_LETTERS = 32 << 20, 1.0, 2100
FILE = "model.safetensors"
TABLE = "embedder.input_embedding"
ABSURD = [
    None, True, -1, 0, 1.5, 2**31, 2**63, 2**64, 10**30, float("nan"), float("inf"),
    "", "x", "\ud800", "F8_E4M3", "F4", "I64", "U8", [], {}, [1], [[1]],
    [2**62, 4], [0, 2**62], [5, 3], [-4, 0],
]  # fmt: skip
PIECES = [
    b"\xff" * 8, bytes(8), struct.pack("<Q", 2**63), struct.pack("<Q", 2**32 - 1),
    struct.pack("<Q", 10**9), b"999999999", b"-1", b"1e999", b"null", b'"', b"[[[", b"{",
]  # fmt: skip
MODEL = Transformer(
    gemma3_config(
        num_layers=1,
        embed_dim=32,
        hidden_dim=32,
        num_heads=2,
        num_kv_heads=1,
        head_dim=16,
        window=4,
        vocab_size=70,
        max_positions=64,
    )
)


def refusal(path) -> str:
    """Returns why a checkpoint is not read; "" if it is."""
    message, begin_s = "", time.process_time()
    tracemalloc.start()
    try:
        open_checkpoint(path).read_params(dtype="float32")
    except (CheckpointError, FileNotFoundError) as error:
        message = str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MAX_BYTES
    assert time.process_time() - begin_s < MAX_CPU_S
    assert len(message) < MAX_LETTERS
    assert "\n" not in message
    return message


def write(folder: Path, kind: str) -> None:
    """Writes a small model as "huggingface", "gguf", "zarr2", "zarr3" or "ocdbt"."""
    if kind == "huggingface":
        save_model(folder, MODEL, _params())
    elif kind == "gguf":
        folder.mkdir()
        config = gguf_files.MODELS["gemma"]
        tensors = gguf_files.their_tensors(Transformer(config).init(jax.random.key(0)))
        types = {"blk.0.ffn_up.weight": gguf.GGMLQuantizationType.Q8_0}
        gguf_files.write(folder / "x.gguf", config, tensors, types=types)
    else:
        tree = nested_tree(_params(), MODEL.config)
        write_orbax(folder, tree, ocdbt=kind == "ocdbt", zarr3=kind == "zarr3")


@functools.cache
def _params():
    return MODEL.init(jax.random.key(0))


def read_with(folder, name, data) -> str:
    """Puts other bytes into a file, reads the checkpoint, and puts the old ones back."""
    path = folder / name
    before = path.read_bytes()
    path.write_bytes(data)
    try:
        return refusal(folder)
    finally:
        path.write_bytes(before)


def edits(data: bytes, length: int):
    """Strategy of the same bytes with some changed, left out or put in near the start."""
    place = st.integers(0, min(length, len(data)) - 1)
    piece = st.sampled_from(PIECES) | st.binary(max_size=4)
    edit = st.tuples(place, st.sampled_from([0, 0, 1, 1, 8]), piece)

    def apply(changes):
        changed = bytearray(data)
        for begin, num_removed, put in changes:
            changed[begin : begin + num_removed] = put
        return bytes(changed)

    return st.lists(edit, min_size=1, max_size=3).map(apply)


def flips(data: bytes):
    """Strategy of the same bytes with one bit turned, or cut short."""
    places = st.tuples(st.integers(0, len(data) - 1), st.integers(0, 7))

    def flip(place):
        begin, bit = place
        return data[:begin] + bytes([data[begin] ^ 1 << bit]) + data[begin + 1 :]

    return places.map(flip) | st.integers(0, len(data)).map(lambda end: data[:end])


def absurd_values(stated):
    """Strategy of the same JSON object with absurd values in some places."""
    changes = st.tuples(st.sampled_from(list(_paths(stated))), st.sampled_from(ABSURD))

    def apply(changes):
        changed = copy.deepcopy(stated)
        for (*path, last), value in changes:
            try:
                parent = changed
                for key in path:
                    parent = parent[key]
                parent[last] = copy.deepcopy(value)
            except (KeyError, IndexError, TypeError):
                pass  # an earlier change took the place away
        return json.dumps(changed).encode()

    return st.lists(changes, min_size=1, max_size=3).map(apply)


def _paths(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in items:
        yield (*path, key)
        if isinstance(child, dict | list):
            yield from _paths(child, (*path, key))


def split_safetensors(data: bytes) -> tuple[dict, bytes]:
    """Returns the header of a file, and what follows it."""
    end = 8 + struct.unpack_from("<Q", data)[0]
    return json.loads(data[8:end]), data[end:]


def join_safetensors(header: bytes, tensors: bytes, length: int | None = None) -> bytes:
    length = len(header) if length is None else length
    return struct.pack("<Q", length) + header + tensors


def gguf_string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def gguf_tensor(name: bytes, offset: int) -> bytes:
    """32 numbers in float32."""
    return gguf_string(name) + struct.pack("<IQIQ", 1, 32, 0, offset)


def gguf_key(name: bytes) -> bytes:
    return gguf_string(name) + struct.pack("<II", 4, 7)


def gguf_header(num_tensors: int, num_keys: int, *parts: bytes) -> bytes:
    counts = struct.pack("<IQQ", 3, num_tensors, num_keys)
    return b"GGUF" + counts + b"".join(parts) + bytes(512)


NESTED = gguf_string(b"k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 1000
GGUF_HEADERS = {
    "tensors that share bytes": (
        gguf_header(2, 0, gguf_tensor(b"a", 0), gguf_tensor(b"b", 64)),
        "tensors 'a' and 'b' overlap",
    ),
    "a tensor twice": (
        gguf_header(2, 0, gguf_tensor(b"a", 0), gguf_tensor(b"a", 128)),
        "it has 'a' twice",
    ),
    "a key twice": (gguf_header(0, 2, gguf_key(b"k"), gguf_key(b"k")), "has 'k' twice"),
    "a tensor beyond the file": (
        gguf_header(1, 0, gguf_tensor(b"a", 2**63)),
        "is truncated: tensor 'a' ends",
    ),
    "many tensors": (gguf_header(2**64 - 1, 0), "is damaged: it states"),
    "many keys": (gguf_header(0, 10**9), "is damaged: it states"),
    "a long string": (gguf_header(0, 1, struct.pack("<Q", 2**60)), "asks for"),
    "nested lists": (gguf_header(0, 1, NESTED), "unknown kind 9"),
    "an alignment of 0": (
        gguf_header(
            0, 1, gguf_string(b"general.alignment") + struct.pack("<II", 4, 0)
        ),
        "general.alignment is 0",
    ),
}  # fmt: skip
