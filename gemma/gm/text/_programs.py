"""The compiled programs that answer one prompt, kept on disk whole.

XLA's persistent cache keeps programs too, but finds them by their text: each start would
trace the model again, a second and a half of Python. Here they are found by what they are
made from: the shapes of model and params, the versions, the machine, and our own source.
"""

import contextlib
import functools
import hashlib
import os
import pickle
import platform
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache import compilation_cache

from gemma.gm import hub
from gemma.gm.nn import Transformer
from gemma.gm.text._decode import (
    MAX_STOP_IDS,
    Choice,
    decode_steps,
    first_tokens,
)
from gemma.gm.text._prefill import feed_chunk
from gemma.gm.text._sampling import Sampling, stack
from gemma.gm.text._screen import screen_struct
from gemma.gm.typing import Cache, DType, Params

_MAX_FILES = 64
_lock = threading.Lock()


class Programs(NamedTuple):
    """What runs for each prompt, without the arguments that never change.

    Attributes:
      init_cache: Returns an empty cache for some rows.
      feed_chunk: `feed_chunk`, by the length of the chunk.
      first_tokens: `first_tokens`.
      decode_steps: `decode_steps`.
    """

    init_cache: Callable[[], Cache]
    feed_chunk: Mapping[int, Callable[..., Any]]
    first_tokens: Callable[..., Any]
    decode_steps: Callable[..., Any]


@functools.partial(
    jax.jit, static_argnames=("model", "batch_size", "cache_length", "dtype")
)
def init_cache(
    model: Transformer, batch_size: int, cache_length: int, dtype: DType
) -> Cache:
    """Returns an empty cache, all of it at once."""
    return model.init_cache(
        batch_size=batch_size, cache_length=cache_length, dtype=dtype
    )


def traced_programs(
    model: Transformer,
    *,
    batch_size: int,
    cache_length: int,
    dtype: DType,
    chunk_lengths: tuple[int, ...],
    with_logits: bool,
) -> Programs:
    """Returns programs that are compiled when they meet new shapes.

    Args:
      model: The model.
      batch_size: Rows.
      cache_length: The most tokens of a prompt and its answer together.
      dtype: Dtype of the cache.
      chunk_lengths: How many tokens of a prompt may go through the model at once.
      with_logits: Whether all logits are returned.
    """
    feed = functools.partial(feed_chunk, model)
    return Programs(
        init_cache=functools.partial(
            init_cache, model, batch_size, cache_length, dtype
        ),
        feed_chunk=dict.fromkeys(chunk_lengths, feed),
        first_tokens=functools.partial(first_tokens, model, with_logits=with_logits),
        decode_steps=functools.partial(decode_steps, model, with_logits=with_logits),
    )


def compiled_programs(
    model: Transformer,
    params: Params,
    *,
    cache_length: int,
    chunk_lengths: tuple[int, ...],
) -> Programs:
    """Returns the programs for one prompt, from disk if they are there.

    Args:
      model: The model.
      params: Shapes of its params; see `Checkpoint.param_structs`.
      cache_length: The most tokens of a prompt and its answer together.
      chunk_lengths: How many tokens of a prompt may go through the model at once.
    """
    calls = list(_calls(model, params, cache_length, chunk_lengths))
    fingerprint = _fingerprint(model)
    paths = [_path(fingerprint, *call) for call in calls]
    with ThreadPoolExecutor(len(calls)) as pool:
        programs = list(pool.map(_load, paths))
        if None in programs:
            with _fresh_compilation():
                programs = list(pool.map(_compile, paths, programs, calls))
    start, *feeds, first, decode = programs
    by_length = dict(zip(chunk_lengths, feeds, strict=True))
    return Programs(start, by_length, first, decode)


def _calls(
    model: Transformer,
    params: Params,
    cache_length: int,
    chunk_lengths: tuple[int, ...],
) -> Iterator[tuple[Any, tuple]]:
    """Yields functions with the shapes of their arguments, in the order of `Programs`."""

    def shape(dims: tuple[int, ...], dtype: DType) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(dims, dtype)

    dtype = model.activation_dtype(params)
    dtype = jnp.dtype(dtype)
    yield init_cache, (model, 1, cache_length, dtype)
    cache = jax.eval_shape(lambda: init_cache(model, 1, cache_length, dtype))
    x = shape((1, model.config.embed_dim), dtype)
    choice = Choice(
        sampling=jax.eval_shape(lambda: stack([Sampling()], [0])),
        bias=shape((model.config.vocab_size,), jnp.float32),  # pyright: ignore
        screen=screen_struct(params),
    )
    one, active = shape((1,), jnp.int32), shape((1,), jnp.bool_)
    for length in chunk_lengths:
        tokens, mask = shape((1, length), jnp.int32), shape((1, length), jnp.bool_)
        yield feed_chunk, (model, params, cache, tokens, mask, x, active)
    yield first_tokens, (model, params, x, cache, choice)
    stop_ids, limit = shape((MAX_STOP_IDS,), jnp.int32), shape((), jnp.int32)
    yield decode_steps, (model, params, cache, one, active, choice, stop_ids, limit)


def _path(fingerprint: bytes, function: Any, arguments: tuple) -> Path:
    """Returns where the program of a function for such arguments is kept."""
    leaves, tree = jax.tree.flatten(arguments[1:])
    shapes = [
        (leaf.shape, str(leaf.dtype))
        if isinstance(leaf, jax.ShapeDtypeStruct)
        else leaf
        for leaf in leaves
    ]
    name = f"{function.__name__}{tree}{shapes}".encode()
    return hub.cache_dir() / "programs" / hashlib.sha256(fingerprint + name).hexdigest()


def _load(path: Path) -> Any:
    """Returns a program from disk; None if it is not there, or damaged."""
    with contextlib.suppress(Exception):
        stored = pickle.loads(path.read_bytes())
        return serialize_executable.deserialize_and_load(*stored)
    return None


def _compile(path: Path, loaded: Any, call: tuple[Any, tuple]) -> Any:
    """Returns a program, and keeps it, unless it was there."""
    if loaded is not None:
        return loaded
    function, arguments = call
    compiled = function.lower(*arguments).compile()
    with contextlib.suppress(OSError):
        _write(path, pickle.dumps(serialize_executable.serialize(compiled)))
    return compiled


@contextlib.contextmanager
def _fresh_compilation() -> Iterator[None]:
    """Turns XLA's persistent cache off: what comes from there, it cannot write again."""
    with _lock:
        before = jax.config.jax_enable_compilation_cache  # pyright: ignore
        jax.config.update("jax_enable_compilation_cache", False)
        compilation_cache.reset_cache()
        try:
            yield
        finally:
            jax.config.update("jax_enable_compilation_cache", before)
            compilation_cache.reset_cache()


def _write(path: Path, content: bytes) -> None:
    """Writes a file that appears whole or not at all; old ones go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    os.replace(file.name, path)
    files = sorted(path.parent.iterdir(), key=lambda file: file.stat().st_mtime)
    for file in files[:-_MAX_FILES]:
        file.unlink(missing_ok=True)


def _fingerprint(model: Transformer) -> bytes:
    """Returns what programs depend on besides the shapes of their arguments."""
    root = Path(__file__).parents[1]
    stats = ((file, file.stat()) for file in sorted(root.rglob("*.*")))
    source = [
        (str(file.relative_to(root)), stat.st_size, stat.st_mtime_ns)
        for file, stat in stats
        if file.suffix in (".py", ".so")
    ]
    device = jax.devices()[0]
    known = (
        repr((model.config, model.dtype)),
        jax.__version__,
        device.client.platform_version,
        device.device_kind,
        _processor(),
        os.environ.get("XLA_FLAGS", ""),
        repr(sorted(jax.config.values.items(), key=lambda item: item[0])),
        repr(source),
    )
    return hashlib.sha256("\n".join(known).encode()).digest()


def _processor() -> str:
    """Returns what instructions there are: programs for one machine crash on another."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return platform.processor()
