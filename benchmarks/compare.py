"""Times this project beside llama.cpp and transformers, in turn; writes RESULTS.md.

The contestants take turns so that a machine whose speed drifts is equally slow for all.
What counts are the ratios.

python benchmarks/compare.py --torch-python .venv-parity/bin/python \\
  --llama-python .venv-llama/bin/python --gemma-python .venv-user/bin/python
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from circumstances import Memory, describe

from gemma.gm import hub

HERE = Path(__file__).parent
OURS, LLAMA, STREAMS = "gemma-jax", "llama.cpp", 8
Runs = Mapping[str, Sequence[Mapping[str, Any]]]


class Pythons(NamedTuple):
    """The interpreter of each contestant."""

    gemma: str
    llama: str
    torch: str

    @property
    def gemma_command(self) -> str:
        """The command beside the interpreter."""
        return str(Path(self.gemma).parent / "gemma")


class Models(NamedTuple):
    """The embedded model as it is stored, and its weights in bfloat16 for each reader."""

    packed: Path
    folder: Path
    gguf: Path

    @classmethod
    def make(cls, python: Pythons, where: Path) -> "Models":
        """Converts the embedded model."""
        models = cls(hub.resolve(), where / "bfloat16", where / "bfloat16.gguf")
        for made, kind in [(models.folder, "huggingface"), (models.gguf, "gguf")]:
            form = ["--format", kind, "--dtype", "bfloat16"]
            convert = [python.gemma_command, "convert", models.packed, made, *form]
            subprocess.run(convert, check=True, capture_output=True)
        return models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch-python", type=Path, required=True)
    parser.add_argument("--llama-python", type=Path, required=True)
    parser.add_argument(
        "--gemma-python",
        type=Path,
        default=sys.executable,
        help="where gemma-jax is installed as users install it: JAX imports more where "
        "it finds more, and starts later",
    )
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    python = Pythons(
        str(options.gemma_python), str(options.llama_python), str(options.torch_python)
    )
    with tempfile.TemporaryDirectory() as where:
        models = Models.make(python, Path(where))
        runs = collect(contestants(python, models), options.rounds)
        narrow_bytes = models.gguf.stat().st_size
    starts = time_starts(python, options.rounds)
    bandwidth = Memory().read_bandwidth(tries=10)
    text = report(
        runs,
        starts,
        roofline(runs, bandwidth, models.packed.stat().st_size, narrow_bytes),
        f"make bench ROUNDS={options.rounds}",
    )
    (HERE / "RESULTS.md").write_text(text)
    print(text)


def contestants(python: Pythons, models: Models) -> dict[str, list[str]]:
    """Returns the command of each, which prints one JSON object."""
    bench = [python.gemma_command, "bench", "--json"]
    peer = [python.llama, str(HERE / "peer_llama_cpp.py")]
    llama = [*peer, str(models.packed)]
    torch = [python.torch, str(HERE / "peer_transformers.py"), str(models.packed)]
    many = ["--streams", str(STREAMS), "--cache-length", "1024"]
    return {
        OURS: bench,
        LLAMA: llama,
        with_streams(OURS): [*bench, *many],
        with_streams(LLAMA): [*llama, *many],
        f"{OURS} bfloat16": [*bench, "--model", str(models.folder)],
        f"{LLAMA} bfloat16": [*peer, str(models.gguf)],
        f"{OURS} float32": [*bench, "--weights", "float32"],
        "transformers float32": [*torch, "--dtype", "float32"],
        "transformers bfloat16": [*torch, "--dtype", "bfloat16"],
    }


def with_streams(name: str) -> str:
    return f"{name}, {STREAMS} streams"


def collect(commands: Mapping[str, Sequence[str]], rounds: int) -> Runs:
    """Runs every contestant once a round; returns what each printed."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
    for i in range(rounds):
        for name, command in commands.items():
            print(f"round {i + 1} of {rounds}: {name}", file=sys.stderr)
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            runs[name].append(json.loads(done.stdout))
    return runs


def time_starts(python: Pythons, rounds: int) -> dict[str, float]:
    """Returns the median seconds from start to first output; the first does not count."""
    one = ["generate", "The capital of France is", "--max-new-tokens", "1"]
    first_token = [python.llama, str(HERE / "first_token_llama_cpp.py")]
    commands = {
        "`import gemma`": [python.gemma, "-c", "import gemma"],
        "`gemma --help`": [python.gemma_command, "--help"],
        f"{OURS}: first token": [python.gemma_command, *one],
        f"{LLAMA}: first token": [*first_token, str(hub.resolve())],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            seconds[name].append(time_to_output(command))
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}


def time_to_output(command: Sequence[str]) -> float:
    """Returns the seconds from the start of a process to its first byte, or its end."""
    begin = time.perf_counter()
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdout=pipe, stderr=null) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        seconds = time.perf_counter() - begin
        process.stdout.read()
    assert process.returncode == 0, command
    return seconds


def report(
    runs: Runs, starts: Mapping[str, float], limits: Sequence[str], command: str
) -> str:
    """Returns the page."""
    ours, rounds = runs[OURS][0], len(runs[OURS])
    peers = (LLAMA, "transformers float32")
    versions = [describe(runs[name][0]["versions"]) for name in (OURS, *peers)]
    return "\n".join(
        [
            "# Measured",
            "",
            f"Gemma 3 270M, Q4_K_M GGUF; {date.today()}; `{command}`; medians of "
            f"{rounds} rounds in turn.",
            "",
            f"Machine: {describe(ours['machine'])}.",
            "",
            f"Versions: {', '.join(versions)}, {platform.system()} "
            f"{platform.release()}.",
            "",
            *speed_table(runs),
            "",
            *ratio_table(runs),
            "",
            *start_table(starts),
            "",
            *limits,
            "",
        ]
    )


def speed_table(runs: Runs) -> list[str]:
    return [
        "| | decode, tokens/s | prefill of 512, tokens/s | load, s | peak memory, GB |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {_median(runs, name, 'decode_tokens_per_s'):.1f} "
            f"| {_median(runs, name, 'prefill_tokens_per_s'):.0f} "
            f"| {_median(runs, name, 'load_s'):.1f} "
            f"| {_median(runs, name, 'peak_rss_bytes') / 1e9:.2f} |"
            for name in runs
        ),
        "",
        f"With {STREAMS} streams: all of them together. Bfloat16: the same weights as a "
        "Hugging Face folder, for llama.cpp as a GGUF file. Load: until the first prompt can "
        "be read, tokenizer included; programs come from disk, as in any second start.",
    ]


def ratio_table(runs: Runs) -> list[str]:
    pairs = [
        (OURS, LLAMA),
        (with_streams(OURS), with_streams(LLAMA)),
        (f"{OURS} bfloat16", f"{LLAMA} bfloat16"),
        (f"{OURS} bfloat16", "transformers bfloat16"),
        (OURS, "transformers bfloat16"),
        (f"{OURS} float32", "transformers float32"),
    ]

    def ratio(a: str, b: str, key: str) -> float:
        return _median(runs, a, key) / _median(runs, b, key)

    return [
        "| ratio | decode | prefill |",
        "|---|---|---|",
        *(
            f"| {a} / {b} | {ratio(a, b, 'decode_tokens_per_s'):.2f} "
            f"| {ratio(a, b, 'prefill_tokens_per_s'):.2f} |"
            for a, b in pairs
        ),
    ]


def start_table(starts: Mapping[str, float]) -> list[str]:
    return [
        "| from the start of a process, the second one, to its first output | s |",
        "|---|---|",
        *(f"| {name} | {seconds:.2f} |" for name, seconds in starts.items()),
    ]


def roofline(
    runs: Runs, bandwidth: float, packed_bytes: int, narrow_bytes: int
) -> list[str]:
    """Says what share of the memory's speed each makes of one reading a token."""

    def row(name: str, num_bytes: int) -> str:
        limit = bandwidth / num_bytes
        share = _median(runs, name, "decode_tokens_per_s") / limit
        return f"| {name} | {num_bytes / 1e6:.0f} | {limit:.0f} | {share:.0%} |"

    return [
        f"Roofline: memory reads {bandwidth / 1e9:.1f} GB/s (numpy, a product of a "
        "matrix of 671 MB, best of 10).",
        "",
        "| | the file, MB | one pass over it for each token, tokens/s | reached |",
        "|---|---|---|---|",
        *(row(name, packed_bytes) for name in (OURS, LLAMA)),
        *(row(f"{name} bfloat16", narrow_bytes) for name in (OURS, LLAMA)),
        "",
        "More than 100 % is possible with a packed head: it is read through a screen of "
        "half its size, and of the rest only what can still win.",
    ]


def _median(runs: Runs, name: str, key: str) -> float:
    return statistics.median(run[key] for run in runs[name])


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main()
