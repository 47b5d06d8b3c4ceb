"""The shape of the house, read from its source."""

import ast
from pathlib import Path
from typing import TypeGuard

import pytest

PACKAGE = Path(__file__).parent.parent / "gemma"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(
    p.name for p in (PACKAGE / "gm").iterdir() if (p / "__init__.py").exists()
)

# Lines. A file that needs more says why here. In a face, names that load on demand stand
# three times.
MAX_FILE, MAX_FUNCTION, MAX_FACE = 400, 60, 140
LONGER: dict[str, int] = {}

BANNED = {"utils", "common", "helpers", "base", "core", "manager", "managers", "misc"}
# Policy, protocol and text: none of them computes.
WITHOUT_JAX = [
    "gm/dialog",
    "gm/hub",
    "gm/tools",
    "cli/main.py",
    "cli/options.py",
    "cli/tokens.py",
]


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def is_for_types(node: ast.stmt) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert text.count("\n") <= LONGER.get(name_of(path), MAX_FILE)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            has_docstring = ast.get_docstring(node) and len(node.body) > 1
            first = node.body[1] if has_docstring else node.body[0]
            size = (node.body[-1].end_lineno or 0) - first.lineno + 1
            assert size <= MAX_FUNCTION, f"{node.name} has {size} lines"


@pytest.mark.parametrize("room", ROOMS)
def test_faces_define_nothing(room):
    path = PACKAGE / "gm" / room / "__init__.py"
    docstring, *body = ast.parse(path.read_text()).body
    assert isinstance(docstring, ast.Expr)
    # What is imported when first named is stated once more for type checkers.
    body = [
        part for node in body for part in (node.body if is_for_types(node) else [node])
    ]
    assert all(isinstance(node, ast.ImportFrom | ast.Assign) for node in body)
    assert path.read_text().count("\n") <= MAX_FACE


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_rooms_meet_through_their_faces(path):
    home = name_of(path).split("/")[1] if name_of(path).startswith("gm/") else ""
    for module in imports_of(path):
        parts = module.split(".")
        if parts[:2] == ["gemma", "gm"] and len(parts) > 3:
            assert parts[2] == home, f"{module} is private to its room"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_are_named_by_a_noun(path):
    assert not {path.stem.strip("_"), *path.parent.parts} & BANNED


@pytest.mark.parametrize("place", WITHOUT_JAX)
def test_rooms_that_do_not_compute_do_not_name_jax(place):
    root = PACKAGE / place
    for path in [root] if root.is_file() else root.rglob("*.py"):
        assert not any(m.split(".")[0] == "jax" for m in imports_of(path)), path
