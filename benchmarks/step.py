"""Measures what a decode step spends its time on, and what long contexts cost.

XLA's profiler says how long each call takes, in place, while answers are made. Writes
STEP.md.

python benchmarks/step.py
"""

import re
import statistics
import tempfile
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from circumstances import describe, read_bandwidth

from gemma.cli.bench import machine, versions
from gemma.gm.text import Sampler
from gemma.gm.text._compilation import chunk_lengths
from gemma.gm.text._decode import MAX_STEPS, MAX_STOP_IDS, Choice, Decoded, decode_steps
from gemma.gm.text._prefill import feed_chunk, prefill
from gemma.gm.text._sampling import Sampling, stack

HERE = Path(__file__).parent
CONTEXTS = (64, 576, 2048, 8000, 30000)
CACHE_LENGTH = 30720
ROUNDS, CALLS = 9, 8
# The kernels that read weights.
WEIGHTS = ("gemma_quantized_matmul", "gemma_shortlist")
XLA = "XLA's own"
HEADINGS = {
    "gemma_quantized_matmul": "products of the layers",
    "gemma_shortlist": "head",
    "gemma_cached_attention": "attention",
    "gemma_rms_norm": "norms",
    XLA: XLA,
}


class Step(NamedTuple):
    """Median seconds of a step.

    Attributes:
      whole: Of a step that nobody watches.
      watched: Of one with the profiler, which takes time of its own.
      parts: What the profiler saw of this, by kernel.
    """

    whole: float
    watched: float
    parts: Mapping[str, float]

    @property
    def between_calls(self) -> float:
        return self.watched - sum(self.parts.values())

    @property
    def beside_weights(self) -> float:
        """The share that is not spent on weights; at most this, given the profiler."""
        other_s = self.watched - sum(self.parts[name] for name in WEIGHTS)
        return other_s / self.whole


class Decoder:
    """The decode loop of the sampler, one row, greedy, without the text."""

    def __init__(self, sampler: Sampler):
        """Compiles the program that the sampler would use."""
        self.sampler = sampler
        self._choice = Choice(
            sampling=stack([Sampling()], [0]),
            bias=jax.numpy.zeros(sampler.model.config.vocab_size),
            screen=sampler._screen,
        )
        self._made: Decoded  # by the last call
        lowered = decode_steps.lower(
            sampler.model, sampler.params, self._cache(), *self._rest([2])
        )
        self._run = lowered.compile()
        call = r"(\S+) = .*custom_call_target=\"(\w+)\""
        calls = re.findall(call, self._run.as_text())
        self.targets = {name.lstrip("%"): target for name, target in calls}

    def measure(self, context: int) -> Step:
        """Returns what a step takes with so many tokens before it."""
        sampler = self.sampler
        feed = dict.fromkeys(
            chunk_lengths(sampler.prefill_chunk_length),
            lambda *arguments: feed_chunk(sampler.model, *arguments),
        )
        prompt = (np.arange(context) % 5000 + 1000).tolist()
        cache = prefill(sampler.params, self._cache(), [prompt], feed=feed)
        self._made = self._run(sampler.params, cache, *self._rest(prompt[-1:]))
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0
        options.host_tracer_level = 1
        whole, watched = [], []
        for _ in range(ROUNDS):
            whole.append(self._step_seconds())
            with tempfile.TemporaryDirectory() as folder:
                with jax.profiler.trace(folder, profiler_options=options):
                    seconds = self._step_seconds()
                parts = self._parts(next(Path(folder).rglob("*.xplane.pb")))
                watched.append((seconds, parts))
        seconds, parts = sorted(watched, key=lambda found: found[0])[ROUNDS // 2]
        return Step(statistics.median(whole), seconds, parts)

    def _step_seconds(self) -> float:
        """Takes `CALLS` times `MAX_STEPS` steps; returns the seconds of one."""
        jax.block_until_ready(self._made.last)
        begin = time.perf_counter()
        for _ in range(CALLS):
            made = self._made
            self._made = self._run(
                self.sampler.params, made.cache, *self._rest(made.last)
            )
        jax.block_until_ready(self._made.last)
        return (time.perf_counter() - begin) / CALLS / MAX_STEPS

    def _cache(self):
        model, params = self.sampler.model, self.sampler.params
        return model.init_cache(
            batch_size=1, cache_length=CACHE_LENGTH, dtype=model.cache_dtype(params)
        )

    def _rest(self, last):
        nothing_ends = np.full(MAX_STOP_IDS, -1, np.int32)
        last = jax.numpy.asarray(last, np.int32)
        return last, np.array([True]), self._choice, nothing_ends, np.int32(MAX_STEPS)

    def _parts(self, profile: Path) -> Mapping[str, float]:
        """Returns the seconds a step of each kernel, and of XLA's operations."""
        found = dict.fromkeys(HEADINGS, 0.0)
        for plane in jax.profiler.ProfileData.from_file(str(profile)).planes:
            for line in plane.lines:
                for event in line.events:
                    if "hlo_op" not in dict(event.stats) or "while" in event.name:
                        continue
                    target = self.targets.get(event.name, XLA)
                    found[target] += event.duration_ns / 1e9 / CALLS / MAX_STEPS
        return found


def main() -> None:
    decoder = Decoder(Sampler.from_pretrained(cache_length=CACHE_LENGTH))
    steps = {context: decoder.measure(context) for context in CONTEXTS}
    text = report(decoder.sampler, steps)
    (HERE / "STEP.md").write_text(text)
    print(text)


def report(sampler: Sampler, steps: Mapping[int, Step]) -> str:
    rows = []
    for context, step in steps.items():
        numbers = (step.whole, step.watched, *step.parts.values(), step.between_calls)
        cells = " | ".join(f"{1e3 * seconds:.2f}" for seconds in numbers)
        rows.append(f"| {context:,} | {cells} | {step.beside_weights:.0%} |")
    return "\n".join(
        [
            "# A decode step, part by part",
            "",
            f"Gemma 3 270M, Q4_K_M GGUF, greedy; {date.today()}; "
            "`python benchmarks/step.py`; milliseconds, each line the median of "
            f"{ROUNDS} answers of {CALLS * MAX_STEPS} tokens.",
            "",
            f"Machine: {describe(machine())}. Versions: {describe(versions())}.",
            "",
            f"| context | whole step | the same, watched | {' | '.join(HEADINGS.values())} | between calls "
            "| beside reading weights |",
            "|---" * (len(HEADINGS) + 5) + "|",
            *rows,
            "",
            "All parts are measured in place, by XLA's profiler. It takes time, most of it "
            "where threads share work; the last column counts that as if it were the "
            "step's: the share is at most this. XLA's own: embedding, "
            "rotations, gelu and gate, choosing the token. Between calls: XLA's executor "
            "and the host.",
            "",
            *long_contexts(sampler, steps),
            "",
        ]
    )


def long_contexts(sampler: Sampler, steps: Mapping[int, Step]) -> list[str]:
    """Says whether longer contexts cost more than the reading of their cache."""
    speed = read_bandwidth()
    first = CONTEXTS[0]
    rows = []
    for context, step in steps.items():
        num_bytes = cache_bytes(sampler, context)
        more_s = step.whole - steps[first].whole
        more_bytes = num_bytes - cache_bytes(sampler, first)
        expected_s = more_bytes / speed
        ratio = f"{more_s / expected_s:.2f}" if more_bytes else ""
        rows.append(
            f"| {context:,} | {1 / step.whole:.1f} | {1e3 * step.whole:.2f} "
            f"| {num_bytes / 1e6:.1f} | {1e3 * expected_s:.2f} | {1e3 * more_s:.2f} "
            f"| {ratio} |"
        )
    return [
        "## Long contexts",
        "",
        f"Memory reads {speed / 1e9:.1f} GB/s (numpy, the sum of 671 MB by two threads, "
        "best of 10). Keys and values are "
        f"{np.dtype(sampler.model.cache_dtype(sampler.params)).name}; sliding layers keep "
        "their window.",
        "",
        "| context | tokens/s | step, ms | keys and values read, MB "
        f"| their bytes explain, over {first} | found | ratio |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]


def cache_bytes(sampler: Sampler, context: int) -> int:
    """Returns the bytes of keys and values that a step looks at."""
    number = np.dtype(sampler.model.cache_dtype(sampler.params)).itemsize
    total = 0
    for layer in sampler.model.config.layers:
        seen = min(context, layer.window) if layer.is_local else context
        total += 2 * number * seen * layer.num_kv_heads * layer.head_dim
    return total


if __name__ == "__main__":
    main()
