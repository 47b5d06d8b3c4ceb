"""Measures the memory that `gemma convert` takes; writes CONVERSION.md.

The model is random, made one weight at a time, and has files of several sizes. Each
conversion runs in a process of its own.

python benchmarks/conversion_memory.py
"""

import itertools
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
from circumstances import describe

from gemma.cli.bench import machine, versions
from gemma.gm.ckpts import save_weights
from gemma.gm.nn import Transformer, TransformerConfig, gemma3_config
from gemma.gm.weights import flatten

HERE = Path(__file__).parent
TOKENIZER = HERE.parent / "tests" / "data" / "tiny_tokenizer.model"
SHARD_BYTES = 80_000_000
SAMPLE_S = 0.005


def _config(num_layers: int, embed_dim: int, hidden_dim: int, vocab_size: int):
    """Returns a Gemma 3 of these sizes."""
    return gemma3_config(
        num_layers=num_layers,
        embed_dim=embed_dim,
        hidden_dim=hidden_dim,
        num_heads=8,
        num_kv_heads=4,
        head_dim=128,
        vocab_size=vocab_size,
        max_positions=8192,
    )


LARGE = _config(9, 1024, 4096, 32_768)
# What the libraries take for the same work on next to nothing.
SMALL = _config(1, 32, 32, 512)
# From, to, and the options of the command.
PAIRS = [
    ("huggingface", "huggingface", "bfloat16"),
    ("huggingface", "huggingface", "float32"),
    ("huggingface", "gguf", "bfloat16"),
    ("huggingface", "gguf", "q8_0"),
    ("huggingface", "orbax", "bfloat16"),
    ("gguf", "huggingface", "bfloat16"),
    ("gguf", "orbax", "bfloat16"),
    ("orbax", "huggingface", "bfloat16"),
    ("orbax", "gguf", "bfloat16"),
]
CONVERT = """
import sys
from gemma.cli.main import run
source, made, to, dtype, shard = sys.argv[1:]
options = ["--format", to, "--dtype", dtype]
if to == "huggingface":
    options += ["--max-shard-size", shard]
sys.exit(run(["convert", source, made, *options]))
"""
# The first half of it.
WRITE = """
import sys
from pathlib import Path
from gemma.cli.conversion import Format, write_model
from gemma.gm.ckpts import open_checkpoint
source, made, to, dtype, shard = sys.argv[1:]
limit, source = int(shard), open_checkpoint(source)
source.check()
write_model(
    source, Path(made), Format(to), dtype, max_shard_bytes=limit, progress=None
)
"""


class Peak(NamedTuple):
    """Most bytes that a process had.

    Attributes:
      resident: All pages in memory, those of mapped files counted.
      own: Without those of files, which the system takes back when it needs them.
    """

    resident: int
    own: int


class Result(NamedTuple):
    """One conversion.

    Attributes:
      words: From what to what.
      largest_file: Bytes of the largest file, of what is read or written.
      largest_tensor: Bytes of the largest tensor, as it is written.
      whole: Of the command.
      writing: Of a process that writes, and does not compare what it wrote.
      libraries: Of the command for a model of next to nothing.
    """

    words: str
    largest_file: int
    largest_tensor: int
    whole: Peak
    writing: Peak
    libraries: Peak


def main() -> None:
    results = []
    with tempfile.TemporaryDirectory() as folder:
        large = _make(Path(folder) / "large", LARGE)
        small = _make(Path(folder) / "small", SMALL)
        for pair in PAIRS:
            results.append(_measure(large, small, *pair))
            sys.stderr.write(f"{results[-1]}\n")
    report = _report(results)
    (HERE / "CONVERSION.md").write_text(report, encoding="utf-8")
    sys.stdout.write(report)


def _make(folder: Path, config: TransformerConfig) -> Path:
    """Returns a folder with a random model in each of the formats."""
    model = Transformer(config)
    shapes = {ours: spec.shape for ours, spec in flatten(model.specs()).items()}
    counter = itertools.count()

    def read(ours: str) -> np.ndarray:
        rng = np.random.default_rng(next(counter))
        return rng.standard_normal(shapes[ours], np.float32)

    folder.mkdir()
    save_weights(
        folder / "huggingface",
        model,
        read,
        dtype="bfloat16",
        max_shard_bytes=SHARD_BYTES,
        files={"tokenizer.model": TOKENIZER.read_bytes()},
    )
    for to in ("gguf", "orbax"):
        source, made = folder / "huggingface", _path(folder, to)
        _run(CONVERT, source, made, to, "bfloat16")
    return folder


def _path(folder: Path, format: str) -> Path:
    return folder / ("model.gguf" if format == "gguf" else format)


def _measure(large: Path, small: Path, source: str, to: str, dtype: str) -> Result:
    peaks = []
    files = list(_files(_path(large, source)))
    for code, folder in ((CONVERT, large), (WRITE, large), (CONVERT, small)):
        made = _path(folder, to).with_name(f"made-{_path(folder, to).name}")
        peaks.append(_run(code, _path(folder, source), made, to, dtype))
        files += _files(made)
        shutil.rmtree(made) if made.is_dir() else made.unlink()
    whole, writing, libraries = peaks
    return Result(
        words=f"{source} to {to}, {dtype}",
        largest_file=max(files),
        largest_tensor=LARGE.vocab_size * LARGE.embed_dim * _width(dtype) // 32,
        whole=whole,
        writing=writing,
        libraries=libraries,
    )


def _files(path: Path) -> Iterator[int]:
    """Yields the bytes of each file that a checkpoint is made of."""
    paths = [path] if path.is_file() else path.rglob("*")
    yield from (file.stat().st_size for file in paths if file.is_file())


def _width(dtype: str) -> int:
    """Returns the bytes of 32 numbers."""
    return {"float32": 128, "bfloat16": 64, "q8_0": 34}[dtype]


def _run(code: str, source: Path, made: Path, to: str, dtype: str) -> Peak:
    """Runs Python in a process of its own; returns what that had."""
    command = [sys.executable, "-c", code, source, made, to, dtype, str(SHARD_BYTES)]
    child = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    peak = Peak(0, 0)
    while child.poll() is None:
        peak = Peak(*map(max, peak, _memory(child.pid)))
        time.sleep(SAMPLE_S)
    _, errors = child.communicate()
    if child.returncode:
        sys.exit(errors.decode())
    return peak


def _memory(pid: int) -> Peak:
    """Returns what a process had at most, and what it has without a file behind it.

    Not `ru_maxrss`: a child inherits that of its parent, which is larger.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    found = (re.search(rf"{name}:\s+(\d+) kB", status) for name in ("VmHWM", "RssAnon"))
    return Peak(*(1024 * int(match[1]) if match else 0 for match in found))


def _report(results: list[Result]) -> str:
    rows = [
        f"| {r.words} | {_mb(r.largest_file)} | {_mb(r.largest_tensor)} "
        f"| {_mb(r.whole.resident - r.libraries.resident)} "
        f"| {_mb(r.whole.own - r.libraries.own)} "
        f"| {_mb(r.writing.own - r.libraries.own)} | {_mb(r.libraries.resident)} |"
        for r in results
    ]
    total = 2 * sum(
        int(np.prod(spec.shape))
        for spec in flatten(Transformer(LARGE).specs()).values()
    )
    return "\n".join(
        [
            "# The memory of a conversion",
            "",
            f"A random Gemma 3 of {_mb(total)} MB in bfloat16; {date.today()}; "
            "`python benchmarks/conversion_memory.py`; megabytes of 10^6 bytes.",
            "",
            f"Machine: {describe(machine())}. Versions: {describe(versions())}.",
            "",
            "`gemma convert` writes, and then compares what it wrote with what it read. "
            "Weights pass through it one at a time, as float32 where the dtype "
            "changes: the largest takes "
            f"{_mb(4 * LARGE.vocab_size * LARGE.embed_dim)} MB then, beside what is "
            "written of it. "
            "Files of a Hugging Face folder have at most "
            f"{SHARD_BYTES // 10**6} MB or one tensor; those of other formats are as "
            "large as they get. Peak: `VmHWM` of the process, pages of mapped files "
            "counted, which the system takes back when it needs them. Own: without "
            f"those (`RssAnon`, looked at each {1000 * SAMPLE_S:.0f} ms). Writing: the "
            "same without the comparison. All three are less what the command takes "
            "for a model of next to nothing, which is the last column's: Python, JAX "
            "and the libraries of the formats.",
            "",
            "| conversion | largest file | largest tensor written | peak | own | own, writing "
            "| libraries |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _mb(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.0f}"


if __name__ == "__main__":
    main()
