import contextlib
import json
import keyword
import time
import warnings

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gemma.gm.dialog import (
    FUNCTION_GEMMA,
    GEMMA3_JSON,
    GEMMA3_PYTHON,
    GEMMA4,
    ToolCall,
    ToolCallError,
    ToolResult,
    parse_calls,
    write_call,
    write_results,
)

FORMATS = [GEMMA3_JSON, GEMMA3_PYTHON, FUNCTION_GEMMA, GEMMA4]
TAGS = [
    *("<escape>", '<|"|>', "```", "\n```\n", "<tool_call|>", "}", '"', "'''", "\\"),
    *('```tool_call\n{"name": "f", ', "```tool_code\nf(a=", "<|tool_call>call:f{a:"),
]

names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: not keyword.iskeyword(name)
)
texts = st.lists(st.text() | st.sampled_from(TAGS), max_size=3).map("".join)
keys = names | st.text(max_size=4)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=8,
)
calls = st.builds(ToolCall, names, st.dictionaries(keys, values, max_size=4))


def by_name(format):
    return format.name


def can_write(call, format):
    """Strings of the notation hold everything but the token that ends them."""
    return not format.quote or format.quote not in repr(call.arguments)


@pytest.mark.parametrize("format", FORMATS, ids=by_name)
@given(st.lists(calls, min_size=1, max_size=3))
def test_written_calls_are_read_back(format, calls):
    assume(all(can_write(call, format) for call in calls))
    written = "\n".join(write_call(call, format) for call in calls)
    assert parse_calls(f"I'll look.\n{written}\n", format) == calls


@pytest.mark.parametrize("format", FORMATS, ids=by_name)
@given(text=texts)
def test_any_text_is_read_or_refused(format, text):
    with contextlib.suppress(ToolCallError):
        assert all(isinstance(call, ToolCall) for call in parse_calls(text, format))


@pytest.mark.parametrize("format", FORMATS, ids=by_name)
def test_error_shows_how_to_write_a_call(format):
    with pytest.raises(ToolCallError) as caught:
        parse_calls(f"{format.call_open}?{format.call_close}", format)
    example = write_call(ToolCall("tool_name", {"parameter": "value"}), format)
    assert str(caught.value).endswith(f"Write calls like this:\n{example}")


@pytest.mark.parametrize("format", FORMATS, ids=by_name)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "The weather is fine.",
        "See [1] and {this}.",
        "[1] https://a.b",
        '{"degrees": 7}',
        '```json\n{"name": "Ada", "age": 36}\n```',
        "```python\nweather(city='Oslo')\n```",
        "```\n[f(x) for x in y]\n```",
        "Use `f()` or ```f()``` there.",
    ],
)
def test_answer_without_a_call_has_none(format, text):
    assert parse_calls(text, format) == []


@pytest.mark.parametrize(
    "text",
    [
        '```tool_call\n{"name": "f", "arguments": {"a": 1}}\n```',
        'Sure!\n```tool_call\n{"name": "f", "arguments": {"a": 1}}\n```\nThere.',
        '```tool_call {"name": "f", "arguments": {"a": 1}} ```',
        '```tool_call\n{"name": "f", "arguments": {"a": 1}}```',
        '```tool_call\n{"name": "f", "arguments": {"a": 1}}',
        '````tool_call\n[{"name": "f", "arguments": {"a": 1}}]\n````',
        '```json\n{"name": "f", "parameters": {"a": 1}}\n```',
        '```\n{"name": "f", "arguments": {"a": 1}}\n```',
        '{"name": "f", "arguments": {"a": 1}}',
        'I call it.\n{"name": "f",\n "arguments": {"a": 1}}\nNow wait.',
        '```tool_call\n{"name": "f", "arguments": "{\\"a\\": 1}"}\n```',
        '```tool_call\n{"name": "f", "arguments": {"a": 1}}}\n```',
    ],
)
def test_json_is_read_however_it_is_framed(text):
    assert parse_calls(text, GEMMA3_JSON) == [ToolCall("f", {"a": 1})]


@pytest.mark.parametrize(
    "text",
    [
        "```tool_code\nf(a=[1, 'x', None], b={'c': True})\n```",
        "```tool_code\n[f(a=[1, 'x', None], b={'c': True})]\n```",
        "```tool_code\nprint(f(a=[1, 'x', None], b={'c': True}))\n```",
        "```tool_code\n  f(\n    a=(1, 'x', None),  # a list\n    b={'c': True},\n  )\n```",
        "```python\n[f(a=[1, 'x', None], b={'c': True})]\n```",
        "[f(a=[1, 'x', None], b={'c': True})]",
        "```tool_code\nf(**{'a': [1, 'x', None], 'b': {'c': True}})\n```",
    ],
)
def test_python_is_read_however_it_is_framed(text):
    expected = [ToolCall("f", {"a": [1, "x", None], "b": {"c": True}})]
    assert parse_calls(text, GEMMA3_PYTHON) == expected


@pytest.mark.parametrize(
    "text",
    [
        '<|tool_call>call:f{a:<|"|>x<|"|>,b:[1,-2.5]}<tool_call|>',
        '<|tool_call>call:f{a:<|"|>x<|"|>,b:[1,-2.5]}<tool_call|><|tool_response>',
        '<|tool_call>call:f{a:<|"|>x<|"|>,b:[1,-2.5]}',
        '<|tool_call>f {"a": "x", "b": [1, -2.5]}<tool_call|>',
        '<|tool_call>\ncall: f{\n<|"|>a<|"|>: x,\nb: [1, -2.5,],\n}\n<tool_call|>',
    ],
)
def test_notation_is_read_however_it_is_framed(text):
    assert parse_calls(text, GEMMA4) == [ToolCall("f", {"a": "x", "b": [1, -2.5]})]


def test_several_calls_in_one_block():
    body = '{"name": "f"}\n{"name": "g", "arguments": {}}'
    expected = [ToolCall("f", {}), ToolCall("g", {})]
    assert parse_calls(f"```tool_call\n{body}\n```", GEMMA3_JSON) == expected
    assert parse_calls("```tool_code\nf()\ng()\n```", GEMMA3_PYTHON) == expected


def test_block_inside_a_longer_fence_is_an_example():
    text = f"````\n{write_call(ToolCall('f', {}), GEMMA3_JSON)}\n````"
    assert parse_calls(text, GEMMA3_JSON) == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "does not start with a JSON object"),
        ("f(a=1)", "does not start with a JSON object"),
        ('{"name": "f", "arguments": {', "it is not JSON: Expecting property name"),
        ('{"name": "f", "arguments": {\'a\': 1}}', "it is not JSON"),
        ('{"name": "f", "arguments": {"a": NaN}}', "nan is not a number that JSON has"),
        ('{"name": "f", "arguments": [1]}', "\"arguments\" of 'f' are no JSON object"),
        ('{"tool": "f", "arguments": {}}', 'with a "name" that is a string'),
        ("[1]", 'with a "name" that is a string'),
        (f'{{"name": "f", "arguments": {{"a": {"9" * 5000}}}}}', "too many digits"),
    ],
)
def test_malformed_json_is_explained(body, says):
    with pytest.raises(ToolCallError, match=says):
        parse_calls(f"```tool_call\n{body}\n```", GEMMA3_JSON)


def test_what_looks_like_a_call_has_to_be_one():
    text = '```json\n{"name": "f", "arguments": {"a": oops}}\n```'
    with pytest.raises(ToolCallError, match="it is not JSON"):
        parse_calls(text, GEMMA3_JSON)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "the block is empty"),
        ("f(1)", "f is called with an argument that has no name"),
        ("f(*a)", "an argument that has no name"),
        ("f(a=b)", "the value of 'a' is not a literal"),
        ("f(a=g())", "the value of 'a' is not a literal"),
        ("f(a=f'{b}')", "the value of 'a' is not a literal"),
        ("f(a=__import__('os'))", "not a literal"),
        ("f(a={1, 2})", "a set is not a value that JSON has"),
        ("f(a={1: 2})", "a key of an object is not a string"),
        ("f(a=1e999)", "inf is not a number that JSON has"),
        ("f(a=1, a=2)", "f is given 'a' twice"),
        ("f(a=1, **{'a': 2})", "f is given 'a' twice"),
        ("f(**[1])", r"what follows \*\* in the call of f is no dict"),
        ("f()()", "calls something that has no name"),
        ("import os", "line 1 is not a call"),
        ("f()\nx = f()", "line 2 is not a call"),
        ("f(a='x", "line 1 is not Python"),
    ],
)
def test_malformed_python_is_explained(body, says):
    with pytest.raises(ToolCallError, match=says):
        parse_calls(f"```tool_code\n{body}\n```", GEMMA3_PYTHON)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "the name of a tool is missing"),
        ("call:f", "the { of the arguments is missing"),
        ("call:f{", "a key or a } is missing"),
        ("call:f{a}", "the : after 'a' is missing"),
        ("call:f{,}", "a key or a } is missing"),
        ("call:f{a:}", "a value is missing"),
        ("call:f{a:1,a:2}", "'a' is given twice"),
        ("call:f{a:[1}", "a comma or the ] is missing"),
        ("call:f{a:<escape>x}", "the <escape> that ends a string is missing"),
    ],
)
def test_malformed_notation_is_explained(body, says):
    text = f"<start_function_call>{body}<end_function_call>"
    with pytest.raises(ToolCallError, match=says):
        parse_calls(text, FUNCTION_GEMMA)


DEEP = 1_000
LONG = "x" * 1_000_000


@pytest.mark.parametrize(
    ("format", "body"),
    [
        (GEMMA3_JSON, f'{{"name": "f", "arguments": {"[" * DEEP}{"]" * DEEP}}}'),
        (GEMMA3_JSON, '{"name": "f", "arguments": ' * DEEP),
        (GEMMA3_JSON, f'{{"name": "f", "arguments": {{"a": "{LONG}"}}}}'),
        (GEMMA3_PYTHON, f"f(a={'[' * DEEP}{']' * DEEP})"),
        (GEMMA3_PYTHON, f"f(a={'[' * 100}{']' * 100})"),
        (GEMMA3_PYTHON, f"f(a={'-' * 100_000}1)"),
        (GEMMA3_PYTHON, f"f(a={'1+' * 90_000}1)"),
        (GEMMA3_PYTHON, f"f{'.a' * 90_000}()"),
        (GEMMA3_PYTHON, f"f(a='{LONG}')"),
        (FUNCTION_GEMMA, f"call:f{'{a:' * DEEP}"),
        (GEMMA4, f"call:f{{a:{'[' * DEEP}{']' * DEEP}}}"),
        (GEMMA4, f'call:f{{a:<|"|>{LONG}<|"|>}}'),
    ],
)
def test_deep_or_endless_calls_are_refused(format, body):
    # Newer Pythons read deeper JSON, to where it breaks off.
    with pytest.raises(ToolCallError, match=r"nested|characters|is not JSON"):
        parse_calls(f"{format.call_open}{body}{format.call_close}", format)


@pytest.mark.parametrize("format", FORMATS, ids=by_name)
@pytest.mark.parametrize(
    "part", ["`", "```\n", "``` ", "```a\n", "[", "{", "<|tool_call>", " ", "call:f{"]
)
def test_no_text_takes_more_than_a_few_passes(format, part):
    start = time.perf_counter()
    with contextlib.suppress(ToolCallError):
        parse_calls(part * (500_000 // len(part)), format)
    # Where time grows with the square of the length, this takes hours.
    assert time.perf_counter() - start < 10


def test_pattern_in_python_warns_nobody():
    text = r"```tool_code" "\n" r'f(a="\d+")' "\n```"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse_calls(text, GEMMA3_PYTHON) == [ToolCall("f", {"a": "\\d+"})]


@pytest.mark.parametrize(
    ("call", "format", "says"),
    [
        (ToolCall("my-tool", {}), GEMMA3_PYTHON, "name 'my-tool'.*use GEMMA3_JSON"),
        (ToolCall("class", {}), GEMMA3_PYTHON, "name 'class'"),
        (ToolCall("a{b", {}), GEMMA4, "Gemma 4 cannot write the tool name 'a{b'"),
        (ToolCall("f", {"a": "<escape>"}), FUNCTION_GEMMA, "holds <escape>"),
        (ToolCall("f", {"a": float("inf")}), GEMMA3_JSON, "inf is not a number"),
        (ToolCall("f", {"a": {1}}), GEMMA3_JSON, "a set is not a value"),
    ],
)
def test_call_that_cannot_be_written_is_refused(call, format, says):
    with pytest.raises(ValueError, match=says):
        write_call(call, format)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ToolCall(1, {}), "ToolCall.name is a str, not int"),
        (lambda: ToolCall("f", []), "ToolCall.arguments is a dict, not list"),
    ],
)
def test_wrong_types_are_named(make, says):
    with pytest.raises(TypeError, match=says):
        make()


def test_calls_as_the_published_template_writes_them():
    """Compared with the published chat template of Gemma 4."""
    arguments = {"b": 1, "A": "x\ny", "c": [1, 2.5], "d": {"k": True, "j": None}}
    assert write_call(ToolCall("f", arguments), GEMMA4) == (
        '<|tool_call>call:f{A:<|"|>x\ny<|"|>,b:1,c:[1,2.5],d:{j:None,k:true}}<tool_call|>'
    )


@pytest.mark.parametrize(
    ("result", "written"),
    [
        (
            ToolResult("f", '{"weather": "sunny", "degrees": 15}'),
            "response:f{degrees:15,weather:<escape>sunny<escape>}",
        ),
        (ToolResult("f", "sunny"), "response:f{value:<escape>sunny<escape>}"),
        (ToolResult("f", "[1, 2]"), "response:f{value:[1,2]}"),
        (ToolResult("f", "007"), "response:f{value:<escape>007<escape>}"),
        (ToolResult("f", "[" * DEEP), f"response:f{{value:<escape>{'[' * DEEP}<escape>}}"),
        (ToolResult("f", "No.", True), "response:f{error:<escape>No.<escape>}"),
    ],
)  # fmt: skip
def test_results_as_google_documents_them(result, written):
    """Google, "FunctionGemma formatting and best practices", has the first of these."""
    expected = f"<start_function_response>{written}<end_function_response>"
    assert write_results([result], FUNCTION_GEMMA) == expected


def test_results_for_gemma_3_name_their_tools():
    results = [ToolResult("f", "7"), ToolResult("g", "KeyError: 'a'", is_error=True)]
    assert write_results(results, GEMMA3_JSON) == (
        "```tool_output\nf returned:\n7\n```\n"
        "```tool_output\ng failed:\nKeyError: 'a'\n```"
    )


@given(texts)
def test_result_cannot_end_its_fence(text):
    written = write_results([ToolResult("f", text)], GEMMA3_PYTHON)
    ticks = written[: len(written) - len(written.lstrip("`"))]
    assert ticks not in written[len(ticks) : -len(ticks)]


@pytest.mark.parametrize("format", [FUNCTION_GEMMA, GEMMA4], ids=by_name)
@given(text=texts, key=texts)
def test_result_cannot_end_its_block(format, text, key):
    """A page that a tool fetched may hold control tokens: they arrive as text."""
    results = [ToolResult("f", json.dumps({key: [text]})), ToolResult("f", text)]
    for result in results:
        written = write_results([result], format)
        inside = written.removeprefix(format.result_open).removesuffix(
            format.result_close
        )
        others = [token for token in format.control_tokens if token != format.quote]
        assert not any(token in inside for token in others)


def test_only_the_notation_has_control_tokens():
    assert GEMMA3_JSON.control_tokens == GEMMA3_PYTHON.control_tokens == ()
    assert len(set(GEMMA4.control_tokens)) == 7
