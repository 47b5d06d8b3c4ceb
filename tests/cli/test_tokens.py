import json

import pytest

TEXT = "the quick\tbrown\n<start_of_turn>fox"


@pytest.fixture
def tokens(gemma, tiny_checkpoint):
    """A function that runs `gemma tokens` with the tiny tokenizer."""

    def call(*args, **options):
        return gemma("tokens", "--model", tiny_checkpoint, *args, **options)

    return call


def test_a_line_a_token(tokens, tiny_tokenizer):
    outcome = tokens(TEXT)
    rows = [line.split("\t") for line in outcome.stdout.splitlines()]
    assert [int(token_id) for token_id, _ in rows] == tiny_tokenizer.encode(TEXT)
    assert (outcome.code, outcome.stderr) == (0, "")


def test_pieces_stay_on_their_line(tokens, tiny_tokenizer):
    assert tiny_tokenizer.split("\n\n") == ["\n\n"]
    assert tokens("\n\n").stdout.endswith("\t\\n\\n\n")


def test_ids_on_one_line(tokens, tiny_tokenizer):
    expected = " ".join(map(str, tiny_tokenizer.encode(TEXT)))
    assert tokens("--ids", TEXT).stdout == expected + "\n"


@pytest.mark.parametrize("args", [[], ["-"]])
def test_reads_stdin(tokens, args):
    assert tokens(*args, stdin=f"{TEXT}\n".encode()) == tokens(TEXT)


def test_no_text_is_no_token(tokens):
    assert tokens("--ids", "").stdout == "\n"


def test_bos_and_plain(tokens, tiny_tokenizer):
    expected = tiny_tokenizer.encode(TEXT, add_bos=True, control_tokens=False)
    found = json.loads(tokens("--json", "--bos", "--plain", TEXT).stdout)
    assert found["ids"] == expected


def test_json(tokens, tiny_tokenizer):
    found = json.loads(tokens("--json", TEXT).stdout)
    assert found == {
        "text": TEXT,
        "ids": tiny_tokenizer.encode(TEXT),
        "pieces": [tiny_tokenizer.piece(i) for i in tiny_tokenizer.encode(TEXT)],
    }


@pytest.mark.parametrize("layout", ["{}", "[{}]", " {}\n"])
@pytest.mark.parametrize("separator", [" ", ",", ", "])
def test_decode_is_the_inverse(tokens, tiny_tokenizer, layout, separator):
    ids = layout.format(separator.join(map(str, tiny_tokenizer.encode(TEXT))))
    assert tokens("--decode", ids).stdout == TEXT + "\n"
    assert tokens("--decode", "-", stdin=ids.encode()).stdout == TEXT + "\n"


def test_decode_as_json(tokens):
    given = tokens("--json", TEXT).stdout
    ids = " ".join(map(str, json.loads(given)["ids"]))
    assert tokens("--json", "--decode", ids).stdout == given


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ("2 x", "'x' is not a token id"),
        ("-1", "'-1' is not a token id"),
        ("9" * 30, "is not a token id"),
        ("99999999", "outside the vocabulary"),
    ],
)
def test_bad_ids_are_errors(tokens, ids, words):
    outcome = tokens("--decode", ids)
    assert (outcome.code, outcome.stdout) == (1, "")
    assert words in outcome.stderr


@pytest.mark.parametrize("other", ["text", "--ids", "--plain", "--bos"])
def test_decode_takes_nothing_that_it_would_ignore(tokens, other):
    outcome = tokens("--decode", "2", other)
    assert (outcome.code, outcome.stdout) == (2, "")


def test_invalid_utf8_names_the_byte(tokens):
    outcome = tokens(stdin="é".encode() + b"\xc3(")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "byte 0xC3 at offset 2" in outcome.stderr


def test_needs_no_jax(start_gemma, tiny_checkpoint):
    code = """
import sys
from gemma.cli.main import run
code = run(sys.argv[1:])
print(code, "jax" in sys.modules, file=sys.stderr)
"""
    process = start_gemma("tokens", "-m", tiny_checkpoint, "hi", code=code)
    assert process.communicate()[1] == b"0 False\n"
