"""Writes the names of DeepMind's library that are not here into deepmind-names.md.

`python docs/write_names.py`, when the table in `gemma/gm/_elsewhere.py` has changed; a test
says so.
"""

from pathlib import Path

from gemma.gm._elsewhere import ELSEWHERE

PAGE = Path(__file__).parent / "coming-from" / "deepmind-names.md"
_BEGIN, _END = "<!-- names -->\n", "<!-- end -->"


def current_page() -> str:
    """Returns the page with the names that the table has now."""
    begin, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    rows = "".join(f"| `{name}` | {told} |\n" for name, told in ELSEWHERE.items())
    table = f"\n| DeepMind's gemma | gemma-jax |\n|---|---|\n{rows}\n"
    return begin + _BEGIN + table + _END + rest.partition(_END)[2]


if __name__ == "__main__":
    PAGE.write_text(current_page(), encoding="utf-8")
