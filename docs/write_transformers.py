"""Writes what is done with each argument of transformers, from the code itself.

`python docs/write_transformers.py`, when an option has changed; a test says so.
"""

from pathlib import Path

from gemma.hf._surface import CALLS, Call

PAGE = Path(__file__).parent / "coming-from" / "transformers-arguments.md"
_HEAD = """# Arguments of transformers

What `gemma.hf` does with each argument that transformers 5.23 has. *Honoured* arguments do what they
do there. The others may be passed with the values that are named, since it is so anyway; any other
value is an error that says what stands in the last column. Written by `docs/write_transformers.py`
from the code; a test compares it with the signatures of transformers, and another passes other
values.
"""


def current_page() -> str:
    """Returns the page as the code is now."""
    return _HEAD + "".join(map(_section, CALLS))


def _section(call: Call) -> str:
    honoured = ", ".join(f"`{name}`" for name in sorted(call.honoured))
    rows = "".join(
        f"| `{name}` | {_values(option.values)} | {option.reason} |\n"
        for name, option in sorted(call.fixed.items())
    )
    head = "| argument | may be | anything else |\n|---|---|---|\n"
    return f"\n## {call.name}\n\nHonoured: {honoured}.\n\n{head}{rows}"


def _values(values: tuple) -> str:
    return ", ".join(f"`{value!r}`" for value in values)


if __name__ == "__main__":
    PAGE.write_text(current_page(), encoding="utf-8")
