"""The guides do what they say: every block of code in them is run, page by page."""

import io
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import pytest

from gemma.cli.main import run

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    page.relative_to(DOCS).as_posix()
    for page in DOCS.rglob("*.md")
    if re.search(r"```(?:python|sh)\n", page.read_text())
)
# On these pages commands and functions without a name use the embedded model.
EMBEDDED = {"index.md", "guides/generating.md", "commands.md"}
# Lines that no test runs, and why.
NOT_RUN = {
    "pip install -e '.[demo]'": "it installs; that is how this test came here",
    'gemma generate --model codegemma-2b --fim-prefix "def mean(xs):" '
    '--fim-suffix "return total"': "tests/cli/test_generate.py has a model of code",
}
_FENCE = re.compile(r"^```(python|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block of code: its language, its text, and the line where it begins."""

    language: str
    text: str
    line: int


def blocks_of(page: str) -> list[Block]:
    text = (DOCS / page).read_text()
    return [
        Block(found[1], found[2], text[: found.start()].count("\n") + 2)
        for found in _FENCE.finditer(text)
    ]


def marked(page: str):
    marks = [pytest.mark.slow]
    if page in EMBEDDED:
        marks.append(pytest.mark.embedded)
    return pytest.param(page, marks=marks)


@pytest.fixture
def run_line(monkeypatch, capfd):
    """A function that runs a line of shell; `gemma` runs in this process."""

    def call(line: str) -> None:
        given, _, command = line.rpartition(" | ")
        program, *args = shlex.split(command)
        if program != "gemma":
            assert program == "python", f"no test knows how to run {line!r}"
            subprocess.run([sys.executable, *args], check=True, capture_output=True)
            return
        piped = subprocess.run(given, shell=True, capture_output=True, check=True)
        stdin = io.TextIOWrapper(io.BytesIO(piped.stdout), encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", stdin)
        code = run(args)
        assert code == 0, capfd.readouterr().err

    return call


@pytest.mark.parametrize("page", [marked(page) for page in PAGES])
def test_page_runs(page, desk, run_line, request, monkeypatch):
    """All blocks of a page, one after another, as a reader would."""
    if page in EMBEDDED:
        request.getfixturevalue("embedded_path")
    for module in ("optax", "llguidance", "mcp"):
        if re.search(rf"\b{module}\b", (DOCS / page).read_text()):
            pytest.importorskip(module)
    # Where a page starts a server, it says `python`.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    names = {"__name__": "__main__"}
    # As in users' programs, which may add numbers of two dtypes.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in blocks_of(page):
            if block.language == "python":
                # So that a traceback names the line of the page.
                code = "\n" * (block.line - 1) + block.text
                exec(compile(code, DOCS / page, "exec"), names)
                continue
            for line in block.text.splitlines():
                if line not in NOT_RUN:
                    run_line(line)


@pytest.mark.parametrize("line", NOT_RUN)
def test_lines_that_are_not_run_stand_on_a_page(line):
    """An entry of `NOT_RUN` that nobody needs would hide a line that nobody runs."""
    assert any(line in (DOCS / page).read_text().splitlines() for page in PAGES)


def test_pages_speak_no_other_language():
    """What is neither Python nor shell would not be run; outputs are text."""
    for page in DOCS.rglob("*.md"):
        languages = set(re.findall(r"^```(\S*)\n", page.read_text(), re.MULTILINE))
        assert languages <= {"", "python", "sh", "text"}, page
