"""Times this project beside transformers, in turn, and writes RESULTS.md.

The two take turns so that a machine whose speed drifts is equally slow for both. What
counts are the ratios.

python benchmarks/compare.py --peer-python .venv-parity/bin/python
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from gemma.gm import hub

HERE = Path(__file__).parent
GEMMA = Path(sys.executable).parent / "gemma"
PEER_DTYPES = ("float32", "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    runs = collect(options.peer_python, options.rounds)
    starts = time_starts(options.rounds)
    text = report(runs, starts, f"make bench ROUNDS={options.rounds}")
    (HERE / "RESULTS.md").write_text(text)
    print(text)


def collect(peer_python: Path, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Runs every contestant once a round; returns what each printed."""
    peer = [str(peer_python), str(HERE / "peer_transformers.py"), str(hub.resolve())]
    commands = {
        "gemma-jax": [str(GEMMA), "bench", "--json"],
        "gemma-jax float32": [str(GEMMA), "bench", "--json", "--dtype", "float32"],
    }
    commands |= {f"transformers {d}": [*peer, "--dtype", d] for d in PEER_DTYPES}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
    for i in range(rounds):
        for name, command in commands.items():
            print(f"round {i + 1} of {rounds}: {name}", file=sys.stderr)
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            runs[name].append(json.loads(done.stdout))
    return runs


def time_starts(rounds: int) -> dict[str, float]:
    """Returns the median seconds of whole processes, after one that is not counted."""
    generate = ["generate", "The capital of France is", "--max-new-tokens", "16"]
    commands = {
        "`import gemma`": [sys.executable, "-c", "import gemma"],
        "`gemma --help`": [str(GEMMA), "--help"],
        "`gemma generate`, 16 tokens": [str(GEMMA), *generate],
    }
    return {name: _median_s(command, rounds) for name, command in commands.items()}


def _median_s(command: Sequence[str], rounds: int) -> float:
    seconds = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[1:])


def report(
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    starts: Mapping[str, float],
    command: str,
) -> str:
    """Returns the page."""

    def median(name: str, key: str) -> float:
        return statistics.median(run[key] for run in runs[name])

    def ratio(name: str, dtype: str, key: str) -> float:
        return median(name, key) / median(f"transformers {dtype}", key)

    ours = runs["gemma-jax"][0]
    lines = [
        "# Measured",
        "",
        f"Gemma 3 270M, Q4_K_M GGUF; {date.today()}; `{command}`; medians of "
        f"{len(runs['gemma-jax'])} rounds in turn.",
        "",
        f"Machine: {_describe(ours['machine'])}.",
        "",
        f"Versions: {_describe(ours['versions'])}, "
        f"{_describe(runs['transformers float32'][0]['versions'])}, "
        f"{platform.system()} {platform.release()}.",
        "",
        "| | decode, tokens/s | prefill of 512, tokens/s | load, s | peak memory, GB |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {median(name, 'decode_tokens_per_s'):.1f} "
        f"| {median(name, 'prefill_tokens_per_s'):.0f} "
        f"| {median(name, 'load_s'):.1f} "
        f"| {median(name, 'peak_rss_bytes') / 1e9:.2f} |"
        for name in runs
    ]
    lines += ["", "| ratio to | decode | prefill |", "|---|---|---|"]
    lines += [
        f"| {ours_name} / transformers {dtype} "
        f"| {ratio(ours_name, dtype, 'decode_tokens_per_s'):.2f} "
        f"| {ratio(ours_name, dtype, 'prefill_tokens_per_s'):.2f} |"
        for ours_name in ("gemma-jax", "gemma-jax float32")
        for dtype in PEER_DTYPES
    ]
    lines += [
        "",
        "| whole process, second start | s |",
        "|---|---|",
        *(f"| {name} | {seconds:.2f} |" for name, seconds in starts.items()),
        "",
    ]
    return "\n".join(lines)


def _describe(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main()
