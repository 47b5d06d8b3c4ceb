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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache import compilation_cache

from gemma.gm import hub
from gemma.gm.kernels import give_back_memory
from gemma.gm.nn import Transformer
from gemma.gm.text._compilation import Lengths
from gemma.gm.text._decode import (
    MAX_STOP_IDS,
    Choice,
    Decoded,
    decode_steps,
)
from gemma.gm.text._draw import stack
from gemma.gm.text._penalties import History
from gemma.gm.text._prefill import feed_chunk
from gemma.gm.text._sampling import Sampling
from gemma.gm.text._screen import screen_struct
from gemma.gm.typing import Cache, DType, Params

_MAX_FILES = 128
# Defaults. With options of its own, JAX does not return a program that it has in memory,
# which may come from XLA's persistent cache: those cannot be written a second time.
_OWN_OPTIONS = {"xla_embed_ir_in_executable": False}
_lock = threading.Lock()


class Programs(NamedTuple):
    """What runs for prompts, without the arguments that never change.

    Attributes:
      init_cache: Returns an empty cache for some rows.
      feed_chunk: `feed_chunk`, by the length of the chunk.
      decode_steps: `decode_steps`.
    """

    init_cache: Callable[[], Cache]
    feed_chunk: Mapping[int, Callable[..., Cache]]
    decode_steps: Callable[..., Decoded]


@functools.partial(
    jax.jit,
    static_argnames=("model", "batch_size", "cache_length", "rewind_length", "dtype"),
)
def init_cache(
    model: Transformer,
    batch_size: int,
    cache_length: int,
    rewind_length: int,
    dtype: DType,
) -> Cache:
    """Returns an empty cache, all of it at once."""
    return model.init_cache(
        batch_size=batch_size,
        cache_length=cache_length,
        rewind_length=rewind_length,
        dtype=dtype,
    )


def traced_programs(
    model: Transformer,
    *,
    batch_size: int,
    lengths: Lengths,
    dtype: DType,
    with_logits: bool,
) -> Programs:
    """Returns programs that are compiled when they meet new shapes.

    Args:
      model: The model.
      batch_size: Rows.
      lengths: What the programs are made for.
      dtype: Dtype of the cache.
      with_logits: Whether all logits are returned.
    """
    feed = functools.partial(feed_chunk, model)
    return Programs(
        init_cache=functools.partial(
            init_cache, model, batch_size, lengths.cache, lengths.rewind, dtype
        ),
        feed_chunk=dict.fromkeys(lengths.chunks, feed),
        decode_steps=functools.partial(decode_steps, model, with_logits=with_logits),
    )


def programs_for(
    num_rows: int,
    stored: dict[int, Programs],
    model: Transformer,
    params: Params,
    lengths: Lengths,
    *,
    with_logits: bool,
) -> Programs:
    """Returns programs that answer some prompts side by side.

    Args:
      num_rows: How many.
      stored: Programs that are kept on disk, by rows; those for these rows are added.
        Without any, programs are compiled when they meet new shapes.
      model: The model.
      params: Its params.
      lengths: What the programs are made for.
      with_logits: Whether all logits are returned. Such programs are not kept whole.
    """
    if with_logits or not stored:
        dtype = jnp.dtype(model.cache_dtype(params))
        return traced_programs(
            model,
            batch_size=num_rows,
            lengths=lengths,
            dtype=dtype,
            with_logits=with_logits,
        )
    if num_rows not in stored:
        shapes = jax.tree.map(lambda leaf: _shape(leaf.shape, leaf.dtype), params)
        stored[num_rows], _ = stored_programs(model, shapes, lengths, num_rows)
    return stored[num_rows]


def stored_programs(
    model: Transformer,
    params: Params,
    lengths: Lengths,
    num_rows: int = 1,
) -> tuple[Programs, list["StoredProgram"]]:
    """Returns the programs for some prompts, and those of them that are not on disk.

    All may be called; what is missing then is compiled by the first call.

    Args:
      model: The model.
      params: Shapes of its params; see `Checkpoint.param_structs`.
      lengths: What the programs are made for.
      num_rows: How many prompts are answered side by side.
    """
    keep = functools.partial(StoredProgram, _fingerprint(model))
    dtype = jnp.dtype(model.cache_dtype(params))
    sizes = num_rows, lengths.cache, lengths.rewind, dtype
    start = keep(init_cache, model, *sizes)
    cache = jax.eval_shape(lambda: init_cache(model, *sizes))

    def feed(length: int) -> StoredProgram:
        shape = num_rows, length
        tokens, mask = _shape(shape, jnp.int32), _shape(shape, jnp.bool_)
        return keep(feed_chunk, model, params, cache, tokens, mask)

    tokens, active = _shape((num_rows,), jnp.int32), _shape((num_rows,), jnp.bool_)

    def decode(screen: Any) -> StoredProgram:
        how = choice_struct(num_rows, model.config.vocab_size, screen)
        number = _shape((), jnp.int32)
        end = _shape((MAX_STOP_IDS,), jnp.int32), number, number
        return keep(decode_steps, model, params, cache, tokens, active, *how, *end)

    # Short prompts and greedy answers need these first, the longest of them first.
    screen = screen_struct(params)
    from_few = decode(screen)
    from_few.begin_reading()
    feeds = {length: feed(length) for length in lengths.chunks}
    feeds[min(feeds)].begin_reading()
    start.begin_reading()
    from_all = from_few if screen is None else decode(None)

    def decode_either(params, cache, tokens, active, choice, *rest):
        run = from_all if choice.screen is None else from_few
        return run(params, cache, tokens, active, choice, *rest)

    stored = {start, *feeds.values(), from_all, from_few}
    missing = [program for program in stored if not program.is_there()]
    return Programs(start, feeds, decode_either), missing


def choice_struct(
    num_rows: int, vocab_size: int, screen: Any = None
) -> tuple[Choice, History | None]:
    """Returns how the tokens of some rows are chosen, and their history, as shapes."""
    shape = (num_rows, vocab_size)
    choice = Choice(
        sampling=stack([Sampling()] * num_rows, [0] * num_rows),
        allowed=_shape((num_rows, -(-vocab_size // 32)), jnp.uint32),  # pyright: ignore
        bias=_shape(shape, jnp.float32) if screen is None else None,  # pyright: ignore
        screen=screen,
    )
    if screen is not None:
        return choice, None
    history = History(_shape(shape, jnp.bool_), _shape(shape, jnp.int32))  # pyright: ignore
    return choice, history


def _shape(dims: tuple[int, ...], dtype: DType) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(dims, dtype)


class StoredProgram:
    """A program that is read from disk, or compiled, before it is first called."""

    def __init__(
        self, fingerprint: bytes, function: Any, model: Transformer, *arguments: Any
    ):
        self._function, self._arguments = function, (model, *arguments)
        self._path = _path(fingerprint, function, arguments)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._program: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        if len(arguments) > len(self._arguments) - 1:  # an image came along
            return self._function(self._arguments[0], *arguments)
        if self._program is None:
            self._prepare()
        assert self._program is not None
        return self._program(*arguments)

    def is_there(self) -> bool:
        """Returns whether there is something to read."""
        return self._path.exists()

    def begin_reading(self) -> None:
        """Reads it in a thread, which who calls it meanwhile will wait for."""
        if not self.is_there():
            return
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def compile(self) -> None:
        """Compiles it, and keeps it on disk if it can be written there."""
        lowered = self._function.lower(*self._arguments)
        self._program = compiled = lowered.compile(compiler_options=_OWN_OPTIONS)
        with contextlib.suppress(OSError):
            content = pickle.dumps(serialize_executable.serialize(compiled))
            _write(self._path, content)

    def _prepare(self) -> None:
        """Reads it, or waits for the thread that does; compiles it if need be."""
        if self._thread is not None:
            self._thread.join()
        else:
            # Reading takes twice the memory that programs keep: of this one, and of
            # those that were read at the start, when nobody had time for it.
            give_back_memory()
            self._read()
            give_back_memory()
        if self._program is None:
            compile_missing([self])

    def _read(self) -> None:
        """Reads it, unless it is not on disk, or damaged."""
        with self._lock, contextlib.suppress(Exception):
            if self._program is None:
                stored = pickle.loads(self._path.read_bytes())
                self._program = serialize_executable.deserialize_and_load(*stored)
                self._path.touch()  # those that were used least lately go first


def compile_missing(missing: Sequence[StoredProgram]) -> None:
    """Compiles programs side by side, and keeps them on disk."""
    if not missing:
        return
    pool = ThreadPoolExecutor(len(missing))
    try:
        with _fresh_compilation():
            list(pool.map(StoredProgram.compile, missing))
    finally:
        # An error or Ctrl-C does not wait for programs that nobody will run.
        pool.shutdown(wait=False, cancel_futures=True)


def _path(fingerprint: bytes, function: Any, arguments: tuple) -> Path:
    """Returns where the program of a function for such arguments is kept."""
    leaves, tree = jax.tree.flatten(arguments)
    shapes = [
        (leaf.shape, leaf.dtype.char)
        if isinstance(leaf, jax.ShapeDtypeStruct)
        else leaf
        for leaf in leaves
    ]
    name = f"{function.__name__}{tree}{shapes}".encode()
    return hub.cache_dir() / "programs" / hashlib.sha256(fingerprint + name).hexdigest()


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
