"""DeepMind's package has the same import name: what is said if both are installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gemma
from gemma._shared_name import is_overwritten, other_package

PACKAGE = Path(gemma.__file__).parent
# An editable installation is found before any folder.
NOT_EDITABLE = (
    "import sys; sys.meta_path[:] = "
    "[f for f in sys.meta_path if 'editable' not in type(f).__module__]\n"
)
MAIN = "from gemma.cli.main import main; main()"


def python(site: Path, code: str, *args: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", NOT_EDITABLE + code, *args],
        env={**os.environ, "PYTHONPATH": str(site)},
        cwd=site,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def site(tmp_path) -> Path:
    """A folder of packages with ours, and what pip notes of theirs."""
    shutil.copytree(
        PACKAGE,
        tmp_path / "gemma",
        ignore=shutil.ignore_patterns("__pycache__", "*.cc", "*.inc"),
    )
    (tmp_path / "gemma_jax-0.1.0.dist-info").mkdir()
    return tmp_path


def test_nothing_is_said_of_ours_alone(site):
    assert other_package(site) is None
    (site / "gemma3_270m-1.0.0.dist-info").mkdir()
    assert other_package(site) is None
    assert not is_overwritten(site / "gemma")
    found = python(site, "from gemma import gm; gm.dialog")
    assert (found.returncode, found.stderr) == (0, "")
    assert other_package(site / "no such folder") is None


def test_both_are_installed_and_ours_is_whole(site):
    (site / "gemma-3.3.0.dist-info").mkdir()
    found = python(site, "from gemma import gm; gm.dialog")
    assert found.returncode == 0
    assert "gemma 3.3.0 of DeepMind is installed over the same files" in found.stderr
    assert "pip uninstall gemma gemma-jax" in found.stderr
    found = python(site, MAIN, "--version")
    assert found.returncode == 0
    assert found.stderr.startswith("warning: gemma 3.3.0 of DeepMind")


def test_theirs_was_written_over_ours(site):
    (site / "gemma-4.0.1.dist-info").mkdir()
    (site / "gemma" / "gm" / "__init__.py").write_text('"""Theirs."""\n')
    (site / "gemma" / "__init__.py").write_text('__version__ = "4.0.1"\n')
    assert is_overwritten(site / "gemma")
    found = python(site, MAIN, "--version")
    assert found.returncode == 1
    assert found.stderr.startswith("error: gemma 4.0.1 of DeepMind is installed over")
    assert found.stderr.count("\n") == 1
