"""What the pages show is run."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

import gemma

ROOT = Path(__file__).parent.parent


def modules():
    root = Path(gemma.__file__).parent
    paths = (p.relative_to(root.parent).with_suffix("") for p in root.rglob("*.py"))
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in paths)


@pytest.mark.parametrize("name", modules())
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


@pytest.mark.embedded
@pytest.mark.slow
def test_readme_runs(embedded_path, tmp_path, monkeypatch, capsys):
    """Every Python block of the README, one after another, as a reader would."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(blocks) >= 3
    exec("\n".join(blocks), {})
    assert "the capital of the country of France." in capsys.readouterr().out
    assert (tmp_path / "my-gemma" / "config.json").exists()


def test_changelog_has_the_version():
    assert f"## {gemma.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_pages_name_files_that_exist():
    """ARCHITECTURE.md points at files; a moved file must take its page along."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for path in re.findall(r"`((?:\w+/)+_?\w+\.py)`", text):
        places = [ROOT / path, ROOT / "gemma" / path, ROOT / "gemma" / "gm" / path]
        assert any(place.exists() for place in places), path
