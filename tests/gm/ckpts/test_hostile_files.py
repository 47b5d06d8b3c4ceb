"""Readers on files that are damaged in all ways, by chance; see `hostile`."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("orbax.checkpoint")

from hostile import (
    FILE,
    GGUF_HEADERS,
    TABLE,
    absurd_values,
    edits,
    flips,
    join_safetensors,
    read_with,
    refusal,
    split_safetensors,
    write,
)

from gemma.cli.main import run

# Numbers of random bits overflow when they are converted.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def seeded(max_examples):
    """The same examples in each run."""
    return settings(
        max_examples=max_examples,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A function from a format to a folder of it, made once."""
    place = tmp_path_factory.mktemp("saved")

    def make(kind):
        if not (place / kind).exists():
            write(place / kind, kind)
            assert refusal(place / kind) == ""
        return place / kind

    return make


@pytest.fixture
def folder(tmp_path):
    """A function from a format to a folder of it."""

    def make(kind):
        write(tmp_path / kind, kind)
        return tmp_path / kind

    return make


@pytest.mark.slow
@given(st.data())
@seeded(150)
def test_absurd_values_in_a_safetensors_header(saved, data):
    header, tensors = split_safetensors((saved("huggingface") / FILE).read_bytes())
    changed = join_safetensors(data.draw(absurd_values(header)), tensors)
    read_with(saved("huggingface"), FILE, changed)


@pytest.mark.slow
@given(st.data())
@seeded(150)
def test_damaged_safetensors_header(saved, data):
    whole = (saved("huggingface") / FILE).read_bytes()
    header_end = 8 + struct.unpack_from("<Q", whole)[0]
    read_with(saved("huggingface"), FILE, data.draw(edits(whole, header_end)))


@pytest.mark.slow
@given(st.data())
@seeded(150)
def test_absurd_values_in_a_config(saved, data):
    stated = json.loads((saved("huggingface") / "config.json").read_bytes())
    changed = data.draw(absurd_values(stated))
    read_with(saved("huggingface"), "config.json", changed)


@pytest.mark.slow
@given(st.data())
@seeded(100)
def test_flipped_bits_of_safetensors(saved, data):
    whole = (saved("huggingface") / FILE).read_bytes()
    read_with(saved("huggingface"), FILE, data.draw(flips(whole)))


@pytest.mark.slow
@given(st.data())
@seeded(200)
def test_damaged_gguf_header(saved, data):
    whole = (saved("gguf") / "x.gguf").read_bytes()
    read_with(saved("gguf"), "x.gguf", data.draw(edits(whole, 4000)))


@pytest.mark.slow
@given(st.data())
@seeded(100)
def test_flipped_bits_of_gguf(saved, data):
    whole = (saved("gguf") / "x.gguf").read_bytes()
    read_with(saved("gguf"), "x.gguf", data.draw(flips(whole)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zarr2", "zarr3", "ocdbt"])
@given(data=st.data())
@seeded(60)
def test_damaged_orbax_file(saved, kind, data):
    path = saved(kind)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    file = data.draw(st.sampled_from([f for f in files if f.stat().st_size]))
    whole = file.read_bytes()
    read_with(path, file, data.draw(edits(whole, 4000) | flips(whole)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"), [("zarr2", ".zarray"), ("zarr3", "zarr.json")]
)
@given(data=st.data())
@seeded(60)
def test_absurd_values_in_the_description_of_an_array(saved, kind, name, data):
    file = data.draw(st.sampled_from(sorted(saved(kind).rglob(name))))
    changed = data.draw(absurd_values(json.loads(file.read_bytes())))
    read_with(saved(kind), file, changed)


# All of them.

LIMITED = """
import resource, sys
from gemma.gm.ckpts import CheckpointError, open_checkpoint
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + (512 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sys.argv[1:]:
    try:
        open_checkpoint(path).check()
    except CheckpointError as error:
        print(error)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_absurd_files_are_refused_where_memory_is_short(folder, tmp_path):
    """What is allocated outside of Python is counted too."""
    stated = json.loads((folder("zarr2") / TABLE / ".zarray").read_bytes())
    stated |= {"shape": [2**29, 32], "chunks": [2**29, 32]}
    (tmp_path / "zarr2" / TABLE / ".zarray").write_text(json.dumps(stated))
    path = folder("huggingface")
    header = b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    (path / FILE).write_bytes(join_safetensors(header, b""))
    paths = [tmp_path / "zarr2", path]
    for i, (content, _) in enumerate(GGUF_HEADERS.values()):
        paths.append(tmp_path / f"{i}.gguf")
        paths[-1].write_bytes(content)
    command = [sys.executable, "-c", LIMITED, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count("\n")) == (0, len(paths)), done.stderr


@pytest.mark.parametrize("kind", ["huggingface", "gguf", "zarr2", "ocdbt"])
def test_the_command_line_says_it_in_a_line(folder, kind, capsys):
    path = folder(kind)
    name = {"huggingface": FILE, "gguf": "x.gguf", "zarr2": f"{TABLE}/.zarray"}
    file = path / name.get(kind, "manifest.ocdbt")
    file.write_bytes(b"\x00\xff" * 10)
    assert run(["describe", "--model", str(path)]) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("error: ")
    assert written.err.count("\n") == 1
