"""gemma chat: Markdown on a terminal, which never loses what the model said."""

import io
import itertools
import time
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from gemma.cli.chat import _markdown
from gemma.cli.chat._markdown import MarkdownStream, without_controls
from gemma.cli.chat._parser import split_blocks
from gemma.cli.chat._rendering import rendered

DOCUMENT = """# Title

Some *text* with <b>tags</b>
in two lines.

1. one

   more of one
2. two
   - nested

```python
def f():

    return "# no title"
```

| a | b |
|---|--:|
| 1 | 2 |

> quoted

the end"""


def printed(parts: list[str]) -> str:
    """Returns what is printed of a text that comes in parts."""
    out = io.StringIO()
    with MarkdownStream(Console(file=out, width=60, highlight=False)) as stream:
        for part in parts:
            stream.show(part)
    return out.getvalue()


@settings(max_examples=25)
@given(st.lists(st.integers(0, len(DOCUMENT)), max_size=30).map(sorted))
def test_markdown_in_parts_is_markdown_at_once(places):
    bounds = [0, *places, len(DOCUMENT)]
    parts = [DOCUMENT[a:b] for a, b in itertools.pairwise(bounds)]
    assert printed(parts) == printed([DOCUMENT])


def test_every_line_of_markdown_is_shown():
    lines = [line.strip() for line in printed([DOCUMENT]).splitlines()]
    for words in (
        "Title",
        "Some text with <b>tags</b>",
        "in two lines.",
        "2. two",
        'return "# no title"',
        "the end",
    ):
        assert words in lines


def test_what_is_finished_is_printed_before_the_end():
    out = io.StringIO()
    with MarkdownStream(Console(file=out, width=60)) as stream:
        stream.show("first\n\nsecond\n")
        assert out.getvalue() == "first\n"


@pytest.mark.parametrize(
    "blocks",
    [
        [""],
        ["one"],
        ["one\ntwo\n"],
        ["one\n\n", "two\n"],
        ["```\n\none\n\n"],
        ["- one\n\n- two\n"],
        ["- one\n\n", "two\u2028three\n"],
        ["\n# one\n", "two\n", "***\n"],
    ],
    ids=repr,
)
def test_blocks_of_markdown(blocks):
    assert split_blocks("".join(blocks)) == blocks


def test_what_is_drawn_again_fits_the_terminal():
    console = Console(file=io.StringIO(), width=60, height=10, force_terminal=True)
    with MarkdownStream(console) as stream:
        stream.show("```\n" + "".join(f"line {n}\n" for n in range(50)))
        lines = console.render_lines(stream, pad=False)
    assert len(lines) < 10
    assert "line 49" in "".join(segment.text for segment in lines[-1])


def test_seconds_are_counted_until_the_first_word(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(_markdown, "time", SimpleNamespace(monotonic=lambda: clock.now))
    out = io.StringIO()

    def drawn(words: str) -> bool:
        end = time.monotonic() + 10
        while words not in out.getvalue() and time.monotonic() < end:
            time.sleep(0.01)
        return words in out.getvalue()

    with MarkdownStream(Console(file=out, width=60, force_terminal=True)) as stream:
        assert drawn("...")
        clock.now = 3.2
        assert drawn("... 3 s")
        stream.read(512, 7000)
        clock.now = 4.2
        assert drawn("... 512 of 7,000 tokens 4 s")
        stream.show("word")
        assert drawn("word")
        clock.now = 5.2
    assert " 5 s" not in out.getvalue()


def test_answers_send_no_commands_to_the_terminal():
    assert without_controls("a\x1b[2J\x07\x9b\r\tb\n\x00é") == "a[2J\tb\né"


def shown(text: str, width: int = 60) -> str:
    """Returns what a terminal of some width shows of an answer, without styles."""
    lines = rendered(text, Console(file=io.StringIO(), width=width, highlight=False))
    return "\n".join("".join(segment.text for segment in line) for line in lines)


def letters(text: str) -> str:
    """Returns the letters and digits of a text."""
    return "".join(filter(str.isalnum, text))


AS_WRITTEN = [
    "2*3*4",
    "2**3**4",
    "(a)*(b)*(c)",
    "2*(x)*4",
    "__init__ and _private_",
    "def f(*args, **kwargs)",
    "*.py and src/*/b/*",
    "C:\\new\\_dir",
    "\\*not emphasis\\* and \\[x\\]",
    "[Gemma](https://ai.google.dev/gemma_*x* 'the *title*')",
    "![a cat](cat.png) is a cat",
    "<https://example.com/?a=1&b=2>",
    "&lt;b&gt; is &amp;",
    "<b>bold</b> and <br/>",
    "[1]: https://example.com",
    "see [this][1]",
    "a * b * c",
    "2 ~ 3 ~ 4",
    "**LLM**s",
]


@pytest.mark.parametrize("text", AS_WRITTEN)
def test_what_is_no_markup_is_shown_as_it_was_written(text):
    assert shown(text) == text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("**bold** and *it*", "bold and it"),
        ("**Note:** text", "Note: text"),
        ("**A (b)**: c", "A (b): c"),
        ("这是**重点**内容", "这是重点内容"),
        ("***both***, ~~old~~", "both, old"),
        ("`a*b*c`", "a*b*c"),
        ("# 1. Title", "1. Title"),
        ("3. a\n7. b", " 3. a\n 4. b".replace("4", "7")),
        ("1) a", " 1) a"),
        ("```python x=1\nf()\n```", "python x=1\n  f()"),
        ("- a\n  - b", " • a\n    • b"),
    ],
)
def test_markup_goes_and_its_text_stays(text, seen):
    assert shown(text) == seen


@pytest.mark.parametrize(
    "text",
    [
        "| a | b |\n|---|---|\n| 1 | 2 | 3 |",
        "> " * 40 + "deep",
        "\n".join(f"{'  ' * n}- level {n}" for n in range(40)),
        "| " + " | ".join(f"column{n}" for n in range(30)) + " |\n" + "|---" * 30 + "|",
        "123456789. item",
    ],
    ids=["cells without a column", "quotes", "lists", "columns", "number"],
)
@pytest.mark.parametrize("width", [4, 20, 80])
def test_a_block_that_would_lose_something_is_shown_as_it_was_written(text, width):
    assert letters(shown(text, width)) == letters(text)


MARKS = [
    *("*", "**", "_", "__", "~~", "`", "```", "\n", "\n\n", " ", "  ", "    ", "\\"),
    *("# ", "> ", "- ", "1. ", "12) ", "---", "===", "[", "](", ")", "![", "]: ", "<"),
    *(
        ">",
        "&amp;",
        "&#65;",
        "|",
        "|---|",
        "| ",
        "$",
        "$$",
        "http://a.b/c",
        "\t",
        "<!--",
    ),
    *("-->", "<b>", "</b>", "(", ".", ",", ":", "+", "{", "}", "x", "y2", "word", "é"),
    *("语言", "٣", "😀", "e\u0301", "\u200b", "\u2028", "python\n", '"', "'"),
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(MARKS), max_size=40), st.integers(3, 90))
def test_every_letter_and_digit_is_shown(parts, width):
    text = "".join(parts)
    is_same = letters(shown(text, width)) == letters(text)
    # Lines of cells stand beside one another.
    same_in_table = "|" in text and sorted(letters(shown(text, width))) == sorted(
        letters(text)
    )
    assert is_same or same_in_table


@settings(max_examples=200)
@given(st.text(max_size=60), st.integers(3, 90))
def test_every_letter_and_digit_of_any_text_is_shown(text, width):
    text = without_controls(text)
    assert sorted(letters(shown(text, width))) == sorted(letters(text))
