"""Files and folders that appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gemma.gm.ckpts._leftovers import remove_leftovers, unfinished_prefix


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
    unfinished = _made_in(path.parent, path.name)
    try:
        yield unfinished
        make_public(unfinished)
        os.replace(unfinished, path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


@contextmanager
def updated_folder(path: Path, *, replaced: Sequence[str] = ()) -> Iterator[Path]:
    """Gives a path to make a folder at, whose files go into the one that is meant.

    Each file appears at once, in the place of one of the same name, if all ends well.
    The folder may be a mount point or a link to another disk: the unfinished files are
    inside.

    Args:
      path: The folder that is meant; made if it is not there.
      replaced: Patterns of files that go if there is no new one of their name.

    Raises:
      FileExistsError: There is something at the path that is no folder.
    """
    path.mkdir(parents=True, exist_ok=True)
    unfinished = _made_in(path, "saved")
    try:
        yield unfinished / "files"
        old = {file for pattern in replaced for file in path.glob(pattern)}
        for file in (unfinished / "files").iterdir():
            os.replace(file, path / file.name)
            old.discard(path / file.name)
        for file in old:
            file.unlink()
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _made_in(folder: Path, name: str) -> Path:
    """Returns a new folder for what shall have a name, and removes what others left."""
    remove_leftovers(folder, name)
    return Path(tempfile.mkdtemp(prefix=unfinished_prefix(name), dir=folder))


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a file to write, which gets the name of the path if that ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Behind the name, so that what a killed process leaves has no ending of a model's.
    remove_leftovers(path.parent, path.name)
    prefix = unfinished_prefix(path.name)
    handle, name = tempfile.mkstemp(prefix=prefix, dir=path.parent)
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
