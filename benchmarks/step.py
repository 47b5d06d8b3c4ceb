"""Measures what a decode step spends its time on, and what long contexts cost.

Every part runs by itself at the sizes of the model, many times within one program; the
whole step runs as users run it. Writes STEP.md.

python benchmarks/step.py
"""

import functools
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from circumstances import describe, read_bandwidth

from gemma.cli.bench import machine, versions
from gemma.gm import kernels, math
from gemma.gm.text import Sampler
from gemma.gm.typing import Cache, Params
from gemma.gm.weights import einsum, einsums, take

HERE = Path(__file__).parent
CONTEXTS = (64, 576, 2048, 8000, 30000)
SHORT = CONTEXTS[:3]  # where the parts are told apart
CACHE_LENGTH = 30720
LOOPS, REPEATS, STEPS = 8, 9, 32


def main() -> None:
    sampler = Sampler.from_pretrained(cache_length=CACHE_LENGTH)
    whole = {context: step_seconds(sampler, context) for context in CONTEXTS}
    parts = {context: part_seconds(sampler, context) for context in CONTEXTS}
    text = report(sampler, whole, parts)
    (HERE / "STEP.md").write_text(text)
    print(text)


def step_seconds(sampler: Sampler, context: int) -> float:
    """Returns the median seconds of a token, with so many tokens before it."""
    seconds, prompt = [], (np.arange(context) % 5000 + 1000).tolist()
    stream = sampler.stream(
        prompt, max_new_tokens=STEPS + 8, forbidden_tokens=sampler.tokenizer.stop_ids
    )
    marks = [time.perf_counter() for _ in stream]
    # Four tokens come at once.
    for i in range(4, STEPS, 4):
        seconds.append((marks[i + 4] - marks[i]) / 4)
    return statistics.median(seconds)


def part_seconds(sampler: Sampler, context: int) -> dict[str, float]:
    """Returns the seconds of each part of a step."""
    params, config = sampler.params, sampler.model.config
    x = jax.random.normal(jax.random.key(0), (1, 1, config.embed_dim))
    cache = sampler.model.init_cache(batch_size=1, cache_length=CACHE_LENGTH)
    return {
        "products of the layers": loop_seconds(layer_products, x, params),
        "head": loop_seconds(functools.partial(head, sampler), x, params),
        "attention": loop_seconds(
            functools.partial(attention, sampler, context), (x, cache), params
        ),
        "norms": loop_seconds(norms, x, params),
        "gelu and gate": loop_seconds(functools.partial(gates, config), x, params),
        "embedding": loop_seconds(embedding, x, params),
    }


def loop_seconds(part: Callable[..., Any], state: Any, params: Params) -> float:
    """Returns the median seconds of a part, which feeds what it returns to the next."""

    @functools.partial(jax.jit, donate_argnums=0)
    def loop(state: Any, params: Params) -> Any:
        return jax.lax.fori_loop(0, LOOPS, lambda _, s: part(params, s), state)

    seconds, state = [], jax.tree.map(jnp.copy, state)  # each part gives its own away
    for _ in range(REPEATS + 1):
        begin = time.perf_counter()
        state = jax.block_until_ready(loop(state, params))
        seconds.append((time.perf_counter() - begin) / LOOPS)
    return statistics.median(seconds[1:])


def layers(params: Params) -> list[Params]:
    return [params[name] for name in params if name.startswith("layer_")]


def layer_products(params: Params, x: jax.Array) -> jax.Array:
    for layer in layers(params):
        attn, mlp = layer["attn"], layer["mlp"]
        q, *_ = einsums("BLD,NHD->BLNH", x, (attn["q"], attn["k"], attn["v"]))
        x = einsum("BLNH,DNH->BLD", q, attn["o"])
        gate, _ = einsums("BLD,FD->BLF", x, (mlp["gate"], mlp["up"]))
        x = einsum("BLF,DF->BLD", gate, mlp["down"])
        x = x / (1 + jnp.abs(x))
    return x


def head(sampler: Sampler, params: Params, x: jax.Array) -> jax.Array:
    """The screened head, on vectors like those of the model; greedy."""
    screen = sampler._screen
    if screen is None:
        logits = sampler.model.logits({"params": params}, x[:, 0])
        return x + 1e-9 * jnp.max(logits)
    found = sampler.model.largest_logits(
        {"params": params},
        kernels.rms_norm(x[:, 0], params["final_norm"], eps=1e-6),
        screen,
        bias=jnp.zeros(sampler.model.config.vocab_size),
        wanted=jnp.ones(1, jnp.int32),
        capacity=32,
    )
    return x + 1e-9 * jnp.max(found.outputs)


def attention(
    sampler: Sampler, context: int, params: Params, state: tuple[jax.Array, Cache]
) -> tuple[jax.Array, Cache]:
    """Norms of heads, rotation, attention and cache of all layers, for one token."""
    x, cache = state
    begin = jnp.full([1], context, jnp.int32)
    cache = dict(cache)
    for i, config in enumerate(sampler.model.config.layers):
        width = config.head_dim
        q = jnp.resize(x, (1, 1, config.num_heads, width))
        k = jnp.resize(x, (1, 1, config.num_kv_heads, width))
        rope, attn = config.rope, params[f"layer_{i}"]["attn"]
        found = kernels.cached_attention(
            q,
            k,
            k,
            cache=(cache[f"layer_{i}"]["k"], cache[f"layer_{i}"]["v"]),
            begin=begin,
            end=begin + 1,
            rope=math.rope_table(
                begin[:, None], head_dim=width, theta=rope.theta, factor=rope.factor
            ),
            norms=kernels.HeadNorms(
                attn["query_norm"], attn["key_norm"], config.norm_eps
            ),
            window=config.window if config.is_local else None,
            scale=config.query_scale,
            softcap=config.attn_softcap,
        )
        cache[f"layer_{i}"] = {"k": found.k, "v": found.v}
        x = x + 1e-9 * jnp.sum(found.out)
    return x, cache


def norms(params: Params, x: jax.Array) -> jax.Array:
    for layer in layers(params):
        for name in ("pre_attention_norm", "pre_ffw_norm"):
            y = kernels.rms_norm(x, layer[name], eps=1e-6)
            after = layer[name.replace("pre", "post")]
            x = kernels.rms_norm(y, after, eps=1e-6, residual=x)
    return kernels.rms_norm(x, params["final_norm"], eps=1e-6)


def gates(config: Any, params: Params, x: jax.Array) -> jax.Array:
    for layer in config.layers:
        wide = jnp.resize(x, (1, 1, layer.hidden_dim))
        x = x + 1e-9 * jnp.sum(math.gelu(wide) * wide)
    return x


def embedding(params: Params, x: jax.Array) -> jax.Array:
    token = jnp.abs(jnp.sum(x) * 1000).astype(jnp.int32) % 1000
    return x + take(params["embedder"]["input_embedding"], token[None, None])


def report(
    sampler: Sampler,
    whole: dict[int, float],
    parts: dict[int, dict[str, float]],
) -> str:
    weights = ("products of the layers", "head")
    rows = []
    for context in SHORT:
        found = parts[context] | {"rest": whole[context] - sum(parts[context].values())}
        other = whole[context] - sum(found[name] for name in weights)
        cells = (f"{1e3 * seconds:.2f}" for seconds in found.values())
        rows.append(
            f"| {context:,} | {1e3 * whole[context]:.2f} | {' | '.join(cells)} "
            f"| {other / whole[context]:.0%} |"
        )
    names = [*parts[SHORT[0]], "rest"]
    return "\n".join(
        [
            "# A decode step, part by part",
            "",
            f"Gemma 3 270M, Q4_K_M GGUF, greedy; {date.today()}; "
            "`python benchmarks/step.py`; medians, in milliseconds.",
            "",
            f"Machine: {describe(machine())}. Versions: {describe(versions())}.",
            "",
            f"| context | whole step | {' | '.join(names)} | beside reading weights |",
            "|---" * (len(names) + 3) + "|",
            *rows,
            "",
            "Each part by itself, many times within one program; the whole step as users "
            "run it. What the sum of the parts leaves is the rest: choosing the token, "
            "XLA's own work between kernels, the host, and waiting for keys and values, "
            "which stay in the processor's cache where attention runs by itself.",
            "",
            *long_contexts(sampler, whole, parts),
            "",
        ]
    )


def long_contexts(
    sampler: Sampler,
    whole: dict[int, float],
    parts: dict[int, dict[str, float]],
) -> list[str]:
    """Says whether longer contexts cost more than the reading of their cache."""
    speed = read_bandwidth()
    first = CONTEXTS[0]
    rows = []
    for context in CONTEXTS:
        num_bytes = cache_bytes(sampler, context)
        more_s = whole[context] - whole[first]
        more_bytes = num_bytes - cache_bytes(sampler, first)
        expected_s = more_bytes / speed
        ratio = f"{more_s / expected_s:.2f}" if more_bytes else ""
        rows.append(
            f"| {context:,} | {1 / whole[context]:.1f} | {1e3 * whole[context]:.2f} "
            f"| {num_bytes / 1e6:.1f} | {1e3 * parts[context]['attention']:.2f} "
            f"| {1e3 * expected_s:.2f} | {1e3 * more_s:.2f} | {ratio} |"
        )
    return [
        "## Long contexts",
        "",
        f"Memory reads {speed / 1e9:.1f} GB/s (numpy, the sum of 671 MB by two threads, "
        "best of 10). Keys and values are float32; sliding layers keep their window.",
        "",
        "| context | tokens/s | step, ms | keys and values read, MB | attention, ms "
        f"| their bytes explain, over {first} | found | ratio |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]


def cache_bytes(sampler: Sampler, context: int) -> int:
    """Returns the bytes of keys and values that a step looks at."""
    total = 0
    for layer in sampler.model.config.layers:
        seen = min(context, layer.window) if layer.is_local else context
        total += 2 * 4 * seen * layer.num_kv_heads * layer.head_dim
    return total


if __name__ == "__main__":
    main()
