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
from circumstances import Memory, describe

from gemma.cli.bench import machine, versions
from gemma.gm.kernels import ALONE
from gemma.gm.text import Sampler
from gemma.gm.text._decode import MAX_STOP_IDS, Decoded, decode_steps
from gemma.gm.text._options import make_choice
from gemma.gm.text._prefill import feed_chunk, prefill
from gemma.gm.text._sampling import Sampling

HERE = Path(__file__).parent
CONTEXTS = (64, 576, 2048, 8000, 30000)
CACHE_LENGTH = 30720
ROUNDS, CALLS, STEPS = 9, 24, 4
# The kernels that read weights.
WEIGHTS = ("gemma_quantized_matmul", "gemma_shortlist")
ATTENTION = "gemma_cached_attention"
XLA = "XLA's own"
HEADINGS = {
    "gemma_quantized_matmul": "products of the layers",
    "gemma_shortlist": "head",
    ATTENTION: "attention",
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

    def others(self, seconds: float) -> tuple[float, float]:
        """Returns the least and the largest share of what is not weights.

        The profiler's own time is in what it saw: the largest share counts it as the
        step's, the least as nobody's.

        Args:
          seconds: What else is not counted.
        """
        read_s = sum(self.parts[name] for name in WEIGHTS) + seconds
        return (self.whole - read_s) / self.whole, (self.watched - read_s) / self.whole


class Decoder:
    """The decode loop of the sampler, one row, greedy, without the text."""

    def __init__(self, sampler: Sampler):
        """Compiles the program that the sampler would use."""
        self.sampler = sampler
        self._choice = make_choice(
            [Sampling()],
            [0],
            tokenizer=sampler.tokenizer,
            vocab_size=sampler.model.config.vocab_size,
            forbidden_tokens=(),
            screen=sampler._screen,
        )
        lowered = decode_steps.lower(
            sampler.model, sampler.params, self._cache(), *self._rest([2])
        )
        self._run = lowered.compile()
        call = r"(\S+) = .*custom_call_target=\"(\w+)\""
        calls = re.findall(call, self._run.as_text())
        self.targets = {name.lstrip("%"): target for name, target in calls}

    def begin(self, context: int) -> "Answer":
        """Returns an answer that goes on after so many tokens."""
        sampler = self.sampler
        feed = dict.fromkeys(
            sampler._lengths.chunks,
            lambda *arguments: feed_chunk(sampler.model, *arguments),
        )
        prompt = (np.arange(context) % 5000 + 1000).tolist()
        cache = prefill(sampler.params, self._cache(), [prompt], feed=feed)
        return Answer(self, context, self.run(cache, prompt[-1:]))

    def run(self, cache, last) -> Decoded:
        """Takes `STEPS` steps."""
        return self._run(self.sampler.params, cache, *self._rest(last))

    def _cache(self):
        model, params = self.sampler.model, self.sampler.params
        return model.init_cache(
            batch_size=1, cache_length=CACHE_LENGTH, dtype=model.cache_dtype(params)
        )

    def _rest(self, last):
        nothing_ends = np.full(MAX_STOP_IDS, -1, np.int32)
        last = jax.numpy.asarray(last, np.int32)
        rest = nothing_ends, np.int32(STEPS), ALONE
        return last, np.array([True]), self._choice, None, *rest


class Answer:
    """An answer that is being made, and what its steps took."""

    def __init__(self, decoder: Decoder, context: int, made: Decoded):
        """Goes on from what was made after so many tokens."""
        self._decoder = decoder
        self._end = np.array([context], np.int32)
        self._made = made
        self._whole: list[float] = []
        self._watched: list[tuple[float, Mapping[str, float]]] = []

    def measure(self) -> None:
        """Times steps, without and with the profiler."""
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0
        options.host_tracer_level = 1
        self._whole.append(self._step_seconds())
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder, profiler_options=options):
                seconds = self._step_seconds()
            parts = self._parts(next(Path(folder).rglob("*.xplane.pb")))
            self._watched.append((seconds, parts))

    @property
    def step(self) -> Step:
        """The medians."""
        watched = sorted(self._watched, key=lambda found: found[0])
        return Step(statistics.median(self._whole), *watched[len(watched) // 2])

    def more_than(self, other: "Answer") -> float:
        """Returns the seconds that a step takes more than one of `other`.

        The median of the differences within a round: the machine's speed changes from
        minute to minute by more than some contexts cost.
        """
        pairs = zip(self._whole, other._whole, strict=True)
        return statistics.median(mine - others for mine, others in pairs)

    def _step_seconds(self) -> float:
        """Takes `CALLS` times `STEPS` steps; returns the seconds of one."""
        # Each time from the same place: no measure makes the context of the next longer.
        end = jax.device_put(self._end)
        self._made = self._made._replace(cache={**self._made.cache, "end": end})
        jax.block_until_ready(self._made.last)
        begin = time.perf_counter()
        for _ in range(CALLS):
            self._made = self._decoder.run(self._made.cache, self._made.last)
        jax.block_until_ready(self._made.last)
        return (time.perf_counter() - begin) / CALLS / STEPS

    def _parts(self, profile: Path) -> Mapping[str, float]:
        """Returns the seconds a step of each kernel, and of XLA's operations."""
        found = dict.fromkeys(HEADINGS, 0.0)
        for plane in jax.profiler.ProfileData.from_file(str(profile)).planes:
            for line in plane.lines:
                for event in line.events:
                    is_outer = event.name.startswith(("while", "cond"))
                    if is_outer or "hlo_op" not in dict(event.stats):
                        continue
                    target = self._decoder.targets.get(event.name)
                    name = target if target in HEADINGS else XLA
                    found[name] += event.duration_ns / 1e9 / CALLS / STEPS
        return found


def main() -> None:
    decoder = Decoder(Sampler.from_pretrained(cache_length=CACHE_LENGTH))
    # In turn: what else the machine does disturbs all contexts alike.
    answers = {context: decoder.begin(context) for context in CONTEXTS}
    memory, speeds = Memory(), []
    for _ in range(ROUNDS):
        for answer in answers.values():
            answer.measure()
            speeds.append(memory.read_bandwidth(tries=3))
    text = report(decoder.sampler, answers, statistics.median(speeds))
    (HERE / "STEP.md").write_text(text)
    print(text)


def report(sampler: Sampler, answers: Mapping[int, Answer], speed: float) -> str:
    rows = []
    for context, answer in answers.items():
        step = answer.step
        numbers = (step.whole, step.watched, *step.parts.values(), step.between_calls)
        cells = " | ".join(f"{1e3 * seconds:.2f}" for seconds in numbers)
        num_bytes = cache_bytes(sampler, context)
        readings_s = 0.0, num_bytes / speed, num_bytes / weight_speed(sampler, step)
        shares = " | ".join(
            f"{least:.0%} to {largest:.0%}"
            for least, largest in map(step.others, readings_s)
        )
        rows.append(f"| {context:,} | {cells} | {shares} |")
    return "\n".join(
        [
            "# A decode step, part by part",
            "",
            f"Gemma 3 270M, Q4_K_M GGUF, greedy; {date.today()}; "
            "`python benchmarks/step.py`; milliseconds, each line the median of "
            f"{ROUNDS} answers of {CALLS * STEPS} tokens.",
            "",
            f"Machine: {describe(machine())}. Versions: {describe(versions())}.",
            "",
            "| context | whole step | the same, watched "
            f"| {' | '.join(HEADINGS.values())} | between calls "
            "| beside reading weights | and keys and values, as fast as memory "
            "| and these, as fast as weights |",
            "|---" * (len(HEADINGS) + 7) + "|",
            *rows,
            "",
            "All parts are measured in place, by XLA's profiler. It takes time, most of it "
            "where threads share work; the shares in the last columns are without it and with "
            "it. Reading keys and values: their bytes at the speeds below. XLA's own: "
            "embedding, rotations, gelu and gate, choosing the token. Between calls: "
            "XLA's executor and the host.",
            "",
            *long_contexts(sampler, answers, speed),
            "",
        ]
    )


def long_contexts(
    sampler: Sampler, answers: Mapping[int, Answer], speed: float
) -> list[str]:
    """Says whether longer contexts cost more than reading their cache at this speed."""
    first = CONTEXTS[0]
    rows = []
    for context, answer in answers.items():
        step, num_bytes = answer.step, cache_bytes(sampler, context)
        more_s = answer.more_than(answers[first])
        more_bytes = num_bytes - cache_bytes(sampler, first)
        speeds = speed, weight_speed(sampler, step)
        explained = " | ".join(
            f"{1e3 * more_bytes / each:.2f} | {more_s * each / more_bytes:.2f}"
            if more_bytes
            else " | "
            for each in speeds
        )
        rows.append(
            f"| {context:,} | {1 / step.whole:.1f} | {1e3 * step.whole:.2f} "
            f"| {num_bytes / 1e6:.1f} | {1e3 * more_s:.2f} | {explained} "
            f"| {speeds[1] / 1e9:.1f} "
            f"| {num_bytes / step.parts[ATTENTION] / 1e9:.1f} |"
        )
    return [
        "## Long contexts",
        "",
        f"Memory reads {speed / 1e9:.1f} GB/s (numpy, the product of a matrix of 671 "
        "MB, measured in turn with the answers; the median of bests of 3). Keys and "
        "values are "
        f"{np.dtype(sampler.model.cache_dtype(sampler.params)).name}; sliding layers keep "
        f"their window. A step reads {weight_bytes(sampler) / 1e6:.0f} MB of weights, the "
        f"head through its screen. Over {first}: the median of the differences within a "
        "round. What the bytes of keys and values explain: their time, read as fast as "
        "memory, and as fast as the weights of the same steps.",
        "",
        "| context | tokens/s | step, ms | keys and values read, MB "
        f"| over {first}, ms | explained by memory's speed | ratio "
        "| explained by that of weights | ratio "
        "| weights are read at, GB/s | keys and values at, GB/s |",
        "|---" * 11 + "|",
        *rows,
    ]


def weight_speed(sampler: Sampler, step: Step) -> float:
    """Returns the bytes of weights that a second of their products reads."""
    return weight_bytes(sampler) / sum(step.parts[name] for name in WEIGHTS)


def weight_bytes(sampler: Sampler) -> int:
    """Returns the bytes of weights that a step reads: the layers, and the screen."""
    layers = {name: p for name, p in sampler.params.items() if name != "embedder"}
    return sum(leaf.nbytes for leaf in jax.tree.leaves((layers, sampler._screen)))


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
