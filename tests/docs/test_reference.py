"""What the pages list is what there is: names, options, numbers, and the site itself."""

import functools
import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gemma.hf
from gemma import gm
from gemma.cli.chat._commands import COMMANDS
from gemma.cli.main import run

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
MODULES = [f"gemma.gm.{room}" for room in dir(gm)]
MODULES += ["gemma.hf", "gemma.params", "gemma.transformer", "gemma.sampler"]
# Names that the reader of the source does not see, and why.
UNSEEN = {"gemma.gm.kernels": {"GROUP", "SUPER", "TILE"}}  # assigned as one tuple
NAMES = re.compile(r"\b(?:gm|gemma)(?:\.[A-Za-z_]\w*)+")


def load_writer():
    spec = importlib.util.spec_from_file_location("w", DOCS / "write_commands.py")
    assert spec is not None
    assert spec.loader is not None
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    return writer


WRITER = load_writer()


def text_of(page: str) -> str:
    return (DOCS / page).read_text()


def rows_of(text: str) -> list[list[str]]:
    """Returns the cells of all tables, without lines under heads."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def exists(name: str) -> bool:
    """Returns whether a dotted name is a module or something in one."""
    parts = name.replace("gm.", "gemma.gm.", 1) if name.startswith("gm.") else name
    try:
        functools.reduce(_part, parts.split(".")[1:], importlib.import_module("gemma"))
    except (AttributeError, ImportError):
        return False
    return True


def _part(whole: object, name: str) -> object:
    if hasattr(whole, name):
        return getattr(whole, name)
    return importlib.import_module(f"{getattr(whole, '__name__', '')}.{name}")


def our_code(text: str) -> list[str]:
    """Returns what stands in code, but not what a table says of others' libraries."""
    lines = (
        line.strip().strip("|").split(" | ")[-1] if line.startswith("|") else line
        for line in text.splitlines()
    )
    return re.findall(r"`([^`\n]+)`", "\n".join(lines))


@pytest.mark.parametrize("page", PAGES)
def test_names_in_code_exist(page):
    names = {name for code in our_code(text_of(page)) for name in NAMES.findall(code)}
    assert [name for name in sorted(names) if not exists(name)] == []


@pytest.mark.parametrize("page", PAGES)
def test_files_in_code_exist(page):
    named = re.compile(r"(?:benchmarks|colabs|docs|examples)/[\w./-]+\w")
    files = {file for code in our_code(text_of(page)) for file in named.findall(code)}
    assert [file for file in sorted(files) if not (ROOT / file).exists()] == []


def test_names_of_transformers_exist():
    """The table of what an import line may have instead of `transformers`."""
    table = text_of("coming-from/transformers.md").split("## The same in")[0]
    cells = [row[-1] for row in rows_of(table)[1:]]
    names = re.findall(r"`(\w+)`", " ".join(cells))
    assert len(names) > 30
    assert [name for name in names if not hasattr(gemma.hf, name)] == []


def test_options_of_commands_are_current():
    """`python docs/write_commands.py` writes them anew."""
    assert WRITER.current_page() == WRITER.PAGE.read_text()


@pytest.mark.parametrize("command", WRITER.command_names())
def test_page_has_every_option_of_help(command, capsys):
    """Against what a person reads, in case the writer leaves an option out."""
    assert run([command, "--help"]) == 0
    shown = capsys.readouterr().out.partition("Options:")[2]
    flags = re.findall(r"^  (?:-\w, )?(--[\w-]+)", shown, re.MULTILINE)
    section = text_of("commands.md").partition(f"## gemma {command}\n")[2]
    section = section.partition("\n## ")[0]
    assert len(flags) > 1
    for flag in set(flags) - {"--help"}:
        assert f"`{flag}" in section


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_guide_has_every_command_of_the_chat(command):
    assert f"`/{command.name}" in text_of("guides/chatting.md")


def test_guide_has_the_defaults_of_sampling():
    rows = rows_of(text_of("guides/generating.md"))
    stated = {
        name: default
        for cells in rows[1:]
        for name in re.findall(r"`(\w+)`", cells[0])
        for default in [cells[1].strip("`")]
    }
    sampling = gm.text.Sampling()
    assert stated == {n: str(getattr(sampling, n)) for n in sampling.__slots__}


def test_measured_numbers_stand_in_the_benchmarks():
    """Each table names the file before it; numbers are those of the last run."""
    text = text_of("guides/quantization.md").partition("## What it costs")[2]
    _, *parts = re.split(r"`benchmarks/(\w+\.md)`", text)
    assert len(parts) == 4
    for file, after in zip(parts[::2], parts[1::2], strict=True):
        measured = set(re.findall(r"[\d.]+", (ROOT / "benchmarks" / file).read_text()))
        cells = {cell for row in rows_of(after) for cell in row}
        numbers = {cell for cell in cells if re.fullmatch(r"\d[\d.]*", cell)}
        assert len(numbers) > 8
        assert numbers <= measured


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built so that any warning is an error."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings_handlers.python")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    built = subprocess.run(
        [*command, "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_reference_has_every_public_name(site, module):
    name = module.removeprefix("gemma.gm.").removeprefix("gemma.")
    html = (site / "api" / f"{name}.html").read_text()
    found = importlib.import_module(module)
    names = getattr(found, "__all__", None) or [
        name
        for name, value in vars(found).items()
        if getattr(value, "__module__", "") == module and not name.startswith("_")
    ]
    missing = {name for name in names if f'id="{module}.{name}"' not in html}
    assert missing == UNSEEN.get(module, set())


@pytest.mark.slow
def test_site_fetches_nothing_from_elsewhere(site):
    """Scripts, styles, fonts and pictures are its own: it works without a network."""
    for page in site.rglob("*.html"):
        html = page.read_text()
        tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", html)
        assert not [
            tag for tag in tags if re.search(r"(?:src|href)=\"?(?:https?:)?//", tag)
        ]
