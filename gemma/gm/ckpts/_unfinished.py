"""Files and folders that appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Gives a folder to fill, which appears at the path if that ends well.

    Args:
      path: Where it shall be.

    Raises:
      FileExistsError: There is something at the path.
    """
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield unfinished
        make_public(unfinished)
        os.replace(unfinished, path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a file to write, which gets the name of the path if that ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Behind the name, so that what a killed process leaves has no ending of a model's.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    unfinished = Path(name)
    try:
        yield unfinished
        make_public(unfinished)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def refuse_existing(path: Path) -> None:
    """Raises FileExistsError if there is anything at a path, a dangling link too."""
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists. Choose another name or remove it.")


def make_public(path: Path) -> None:
    """Gives a file or folder the rights of a new one; temporary ones are private."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)
