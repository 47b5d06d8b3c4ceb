"""gemma bench: how fast a model is on this machine."""

import os
import platform
import statistics
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemma.cli.errors import CommandError, explained
from gemma.cli.options import CacheLengthOption, JsonOption, ModelOption, WeightsOption
from gemma.cli.stopwatch import Stopwatch
from gemma.cli.terminal import Table, loading_bar, note, write_json, write_tables

if TYPE_CHECKING:
    from gemma.gm.text import Sampler

_TEXT = "The quick brown fox jumps over the lazy dog. "


@explained
def bench(
    model: ModelOption = None,
    prompt_tokens: Annotated[
        int, typer.Option(min=1, metavar="N", help="Length of the prompt.")
    ] = 512,
    new_tokens: Annotated[
        int, typer.Option(min=2, metavar="N", help="Length of the answer.")
    ] = 64,
    streams: Annotated[
        int, typer.Option(min=1, metavar="N", help="Prompts that run side by side.")
    ] = 1,
    repeats: Annotated[
        int, typer.Option(min=1, metavar="N", help="Runs, of which the median counts.")
    ] = 3,
    cache_length: CacheLengthOption = None,
    weights: WeightsOption = None,
    json: JsonOption = False,
) -> None:
    """Measure how fast a model loads, reads and writes here."""
    import jax

    from gemma.gm.text import Sampler

    start = time.perf_counter()
    with loading_bar() as progress:
        sampler = Sampler.from_pretrained(
            model, dtype=weights, cache_length=cache_length, progress=progress
        )
    load_s = time.perf_counter() - start
    if prompt_tokens >= sampler.cache_length:
        raise CommandError(
            f"A prompt of {prompt_tokens:,} tokens does not fit: the cache holds "
            f"{sampler.cache_length:,} with the answer.",
            hint="Give a larger --cache-length.",
        )
    prompts = [_prompt(sampler, prompt_tokens)] * streams
    if streams > 1:
        note(f"programs for {streams} prompts at once: compiled the first time only")
    first = _time_once(sampler, prompts, new_tokens)
    warm = []
    for index in range(repeats):
        note(f"run {index + 1} of {repeats}")
        warm.append(_time_once(sampler, prompts, new_tokens))
    warm_s = statistics.median(watch.total_s for watch in warm)
    result = {
        "load_s": load_s,
        "first_run_s": max(0.0, first.total_s - warm_s),
        "prefill_tokens_per_s": statistics.median(
            streams * prompt_tokens / watch.first_s for watch in warm
        ),
        "decode_tokens_per_s": statistics.median(
            watch.rate_after(streams) or 0.0 for watch in warm
        ),
        "weight_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(sampler.params)),
        "peak_rss_bytes": _peak_rss_bytes(),
        "machine": machine(),
        "versions": versions(),
    }
    if json:
        write_json(result)
    else:
        write_tables(_tables(result))


def _prompt(sampler: "Sampler", num_tokens: int) -> list[int]:
    # A token is at least one character, so this many copies are enough.
    text = _TEXT * (1 + num_tokens)
    return sampler.tokenizer.encode(text, add_bos=True)[:num_tokens]


def _time_once(
    sampler: "Sampler", prompts: list[list[int]], new_tokens: int
) -> Stopwatch:
    watch = Stopwatch()
    stream = sampler.stream(
        prompts,
        max_new_tokens=new_tokens,
        forbidden_tokens=sampler.tokenizer.stop_ids,
    )
    for _ in watch.watch(stream):
        pass
    return watch


def _peak_rss_bytes() -> int | None:
    """Returns the most memory that this process has had; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def machine() -> dict[str, Any]:
    """Returns what this machine is."""
    import jax

    from gemma.gm import kernels

    device = jax.devices()[0]
    return {
        "cpu": _cpu_name(),
        "kernels": kernels.instruction_set(),
        "cores": os.cpu_count(),
        "memory_bytes": _memory_bytes(),
        "platform": device.platform,
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):
        return None


def versions() -> dict[str, str]:
    """Returns the versions of what computes."""
    from gemma import __version__

    libraries = {name: metadata.version(name) for name in ("jax", "jaxlib")}
    return {"python": platform.python_version(), **libraries, "gemma": __version__}


def _tables(result: dict[str, Any]) -> list[Table]:
    machine = result["machine"]
    memory = machine["memory_bytes"]
    about = [machine["cpu"], f"{machine['cores']} cores"]
    if memory:
        about.append(f"{memory / 1e9:.0f} GB")
    peak = result["peak_rss_bytes"]
    return [
        Table(
            "Speed",
            (),
            [
                ("Load", f"{result['load_s']:.2f} s"),
                ("First run, beyond", f"{result['first_run_s']:.2f} s"),
                ("Prefill", f"{result['prefill_tokens_per_s']:,.0f} tokens/s"),
                ("Decode", f"{result['decode_tokens_per_s']:,.1f} tokens/s"),
                ("Weights", f"{result['weight_bytes'] / 1e9:.2f} GB"),
                ("Peak memory", f"{peak / 1e9:.2f} GB" if peak else "?"),
            ],
        ),
        Table(
            "Machine",
            (),
            [
                ("CPU", ", ".join(about)),
                ("Computes on", machine["platform"]),
                *result["versions"].items(),
            ],
        ),
    ]
