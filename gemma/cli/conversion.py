"""A model written in another format, and compared with where it came from."""

import contextlib
import enum
import errno
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gemma.cli.belongings import (
    folder_files,
    gguf_chat_template,
    gguf_metadata,
    gguf_tokenizer,
)
from gemma.cli.errors import CommandError, is_debugging
from gemma.cli.storage import size_words

if TYPE_CHECKING:
    import numpy as np

    from gemma.gm.ckpts import Checkpoint, GgufType, Progress

# What matrices can become, as GGUF files call it. Folders hold floats only.
TYPES: Mapping[str, "GgufType"] = {
    "float32": "F32",
    "bfloat16": "BF16",
    "float16": "F16",
    "q8_0": "Q8_0",
    "q4_0": "Q4_0",
}
FLOATS = ("float32", "bfloat16", "float16")
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "q8_0": 34 / 32, "q4_0": 18 / 32}
# What an operating system calls a disk, a quota or a file that is full.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Of a matrix, at a time.
_COMPARED_ELEMENTS = 1 << 22
_ROOM_HINT = "Make room, write to another disk, or choose a smaller --dtype."


class Format(enum.StrEnum):
    """What can be written."""

    HUGGINGFACE = "huggingface"
    ORBAX = "orbax"
    GGUF = "gguf"


def write_model(
    source: "Checkpoint",
    path: Path,
    format: Format,
    dtype: str,
    *,
    max_shard_bytes: int,
    progress: "Progress | None",
) -> None:
    """Writes a model and what goes with it; there is a whole one at the path, or none.

    Args:
      source: The model.
      path: The file or folder to make.
      format: Its format.
      dtype: What matrices become: one of `TYPES`, or of `FLOATS` in a folder.
      max_shard_bytes: Largest file of a Hugging Face folder.
      progress: Called with the bytes written so far and in all.

    Raises:
      CommandError: The disk is full, what the format needs is missing, or the model is
        a classifier.
    """
    if source.num_labels is not None:
        raise CommandError(
            f"{source.path} is a classifier of {source.num_labels} labels, and only "
            "language models are converted.",
            hint="gm.ckpts.load_classifier and save_model go between dtypes.",
        )
    _require_room(path, source, dtype)
    with _explained_if_full(path):
        if format is Format.GGUF:
            _write_gguf(source, path, dtype, progress)
        elif format is Format.ORBAX:
            _write_orbax(source, path, dtype, progress)
        else:
            _write_huggingface(source, path, dtype, max_shard_bytes, progress)


def dtype_of(source: "Checkpoint") -> str:
    """Returns what the embedding of a model is, float32 if it is packed."""
    embedding = source.names["embedder/input_embedding"].name
    return source.tensors.dtype_of(embedding).name


def _write_gguf(
    source: "Checkpoint", path: Path, dtype: str, progress: "Progress | None"
) -> None:
    from gemma.gm.ckpts import save_gguf

    save_gguf(
        path,
        source.model,
        lambda ours: source.read_weight(ours, "float32"),
        type=TYPES[dtype],
        tokenizer=gguf_tokenizer(source),
        chat_template=gguf_chat_template(source),
        metadata=gguf_metadata(source),
        progress=progress,
    )


def _write_huggingface(
    source: "Checkpoint",
    path: Path,
    dtype: str,
    max_shard_bytes: int,
    progress: "Progress | None",
) -> None:
    from gemma.gm.ckpts import save_weights

    save_weights(
        path,
        source.model,
        _reader(source, dtype, progress),
        dtype=dtype,
        max_shard_bytes=max_shard_bytes,
        files=folder_files(source),
    )


def _write_orbax(
    source: "Checkpoint", path: Path, dtype: str, progress: "Progress | None"
) -> None:
    from gemma.gm.ckpts import save_orbax

    with _without_logs():
        save_orbax(
            path,
            source.model,
            _reader(source, dtype, progress),
            dtype=dtype,
            files=folder_files(source),
        )


@contextlib.contextmanager
def _without_logs() -> Iterator[None]:
    """Keeps libraries from showing a traceback of what they raise too."""
    before = logging.root.manager.disable
    if not is_debugging():
        logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _reader(
    source: "Checkpoint", dtype: str, progress: "Progress | None"
) -> "Callable[..., np.ndarray]":
    """Returns `_read` of a checkpoint in a dtype, which reports the bytes."""
    total, done = _num_bytes(source, dtype), 0

    def read(ours: str, rows: range | None = None) -> "np.ndarray":
        nonlocal done
        weight = _read(source, ours, dtype, rows)
        done += weight.nbytes
        if progress is not None:
            progress(done, total)
        return weight

    return read


def _read(
    source: "Checkpoint", ours: str, dtype: str, rows: range | None = None
) -> "np.ndarray":
    """Returns a weight, or some rows of it, as floats of a dtype."""
    stored = source.tensors.dtype_of(source.names[ours].name)
    # Not by way of float32 if it is what is wanted.
    read_as = stored if stored.name == dtype else "float32"
    if rows is None:
        return _rounded(ours, source.read_weight(ours, read_as), dtype)
    return _rounded(ours, source.read_rows(ours, read_as, rows), dtype)


def _rounded(ours: str, weight: "np.ndarray", dtype: str) -> "np.ndarray":
    """Returns a weight as floats of a dtype."""
    import ml_dtypes
    import numpy as np

    types = {"bfloat16": ml_dtypes.bfloat16}
    with np.errstate(over="ignore"):
        narrow = weight.astype(types.get(dtype, dtype), copy=False)
    if dtype == "float16" and np.isinf(narrow).any():
        raise CommandError(
            f"Weight {ours!r} has values up to {np.abs(weight).max():.3g}, and float16 "
            "ends at 65,504.",
            hint="Choose --dtype bfloat16 or float32.",
        )
    return narrow


def compare(
    source: "Checkpoint",
    made: "Checkpoint",
    format: Format,
    dtype: str,
    progress: "Progress | None",
) -> int:
    """Compares each weight with the source, rounded; returns how many there are.

    Raises:
      CommandError: One differs.
    """
    from gemma.gm.weights import flatten

    made.check()
    if made.config != source.config:
        raise _differs("config", made)
    read = _reader(made, "float32" if format is Format.GGUF else dtype, progress)
    specs = flatten(source.model.specs())
    for ours in source.names:
        for rows in _cut(ours, specs[ours].shape):
            expected = _expected(source, ours, rows, format, dtype)
            if not _same(read(ours, rows), expected):
                raise _differs(f"weight {ours!r}", made)
    return len(source.names)


def _cut(ours: str, shape: tuple[int, ...]) -> Iterator[range | None]:
    """Yields what of a weight to compare at once: some rows of a large matrix, or all."""
    from gemma.gm.weights import num_out_axes

    if len(shape) == 1 or ours.startswith("vision/"):
        yield None
        return
    axes = num_out_axes(ours)
    num_rows, num_columns = math.prod(shape[:axes]), math.prod(shape[axes:])
    step = max(1, _COMPARED_ELEMENTS // num_columns)
    for begin in range(0, num_rows, step):
        yield range(begin, min(begin + step, num_rows))


def _expected(
    source: "Checkpoint", ours: str, rows: range | None, format: Format, dtype: str
) -> "np.ndarray":
    """Returns what a file that was made should hold of a weight."""
    from gemma.gm.ckpts import gguf_rounded

    if format is not Format.GGUF:
        return _read(source, ours, dtype, rows)
    weight = _read(source, ours, "float32", rows)
    return gguf_rounded(source.model, ours, weight, TYPES[dtype])


def _same(found: "np.ndarray", expected: "np.ndarray") -> bool:
    import numpy as np

    # First without regard to NaN, which takes copies of both.
    return np.array_equal(found, expected) or np.array_equal(
        found, expected, equal_nan=True
    )


def _differs(what: str, made: "Checkpoint") -> CommandError:
    return CommandError(
        f"The {what} of {made.path} is not what was written.",
        hint=f"Remove {made.path}, check the disk, and convert again.",
    )


def _num_bytes(checkpoint: "Checkpoint", dtype: str) -> int:
    from gemma.gm.weights import num_params

    return int(num_params(checkpoint.model.specs()) * _BYTES[dtype])


def _require_room(path: Path, source: "Checkpoint", dtype: str) -> None:
    """Refuses to begin what the disk cannot hold."""
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    needed, free = _num_bytes(source, dtype), shutil.disk_usage(parent).free
    if free < needed:
        raise CommandError(
            f"{path} would take {size_words(needed)}, and {size_words(free)} are free "
            "there.",
            hint=_ROOM_HINT,
        )


@contextlib.contextmanager
def _explained_if_full(path: Path) -> Iterator[None]:
    """Says of a disk that is full that it is, whichever library met it."""
    try:
        yield
    except Exception as error:
        words = [os.strerror(code) for code in _FULL]
        found = next((word for word in words if word in str(error)), None)
        if found is None:
            raise
        raise CommandError(
            f"{path} could not be written: {found[0].lower()}{found[1:]}.",
            hint=_ROOM_HINT,
        ) from error
