"""Whether DeepMind's `gemma` was installed into the same folder.

Both packages are imported as `gemma`, and pip lets the later one write over the files of
the other. This file has a name that theirs has not, so it stays.
"""

import os
from pathlib import Path

_PACKAGE = Path(__file__).parent
# What our face of `gm` imports and theirs does not.
_OURS = "from gemma.gm._elsewhere import"


def other_package(folder: Path = _PACKAGE.parent) -> str | None:
    """Returns what to do if the other package is installed in a folder, else None.

    Looks at names of files only: this runs at each import.
    """
    try:
        names = os.listdir(folder)
    except OSError:  # imported from an archive
        return None
    for name in names:
        if name.startswith("gemma-") and name.endswith((".dist-info", ".egg-info")):
            version = name.removeprefix("gemma-").rpartition(".")[0]
            return (
                f"gemma {version} of DeepMind is installed over the same files as "
                "gemma-jax, and one of them is broken. Keep one: pip uninstall gemma "
                "gemma-jax, then install it again."
            )
    return None


def is_overwritten(package: Path = _PACKAGE) -> bool:
    """Returns whether the files of `gm` are theirs."""
    return _OURS not in (package / "gm" / "__init__.py").read_text(encoding="utf-8")
