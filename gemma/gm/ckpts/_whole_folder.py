"""Folders that appear whole or not at all."""

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
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists. Choose another name or remove it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield unfinished
        unfinished.chmod(0o777 & ~_umask())  # mkdtemp makes folders private
        os.replace(unfinished, path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
