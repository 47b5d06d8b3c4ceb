import jsonschema
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from gemma.gm.dialog import ToolCall
from gemma.gm.tools import Tool, call_tool

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "share": {"type": "number"},
        "loud": {"type": "boolean"},
        "unit": {"enum": ["C", "F", 1, None]},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "either": {"type": ["string", "boolean"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "place": {"$ref": "#/$defs/Place"},
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {
        "Place": {
            "type": "object",
            "properties": {"lat": {"type": "number"}, "in": {"$ref": "#/$defs/Place"}},
            "required": ["lat"],
            "additionalProperties": False,
        }
    },
}
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["lat", "in", "a"]), inner, max_size=2)
    ),
    max_leaves=4,
)
lat = st.fixed_dictionaries({"lat": st.floats(-3, 3)})
right = st.fixed_dictionaries(
    {"city": st.text()},
    optional={
        "days": st.integers() | st.just(2.0),
        "share": st.floats(-3, 3),
        "loud": st.booleans(),
        "unit": st.sampled_from(["C", "F", 1, 1.0, None]),
        "maybe": st.none() | st.integers(),
        "either": st.text() | st.booleans(),
        "tags": st.lists(st.text()),
        "place": lat | st.builds(lambda outer, inner: {**outer, "in": inner}, lat, lat),
        "counts": st.dictionaries(st.text(), st.integers()),
    },
)
wrong = st.dictionaries(
    st.sampled_from([*SCHEMA["properties"], "else"]), plain, max_size=2
)
# Mostly right, with something wrong here and there.
arguments = st.builds(lambda most, some: {**most, **some}, right, wrong)


def tool(schema=SCHEMA):
    return Tool(name="f", description="", parameters=schema, run=lambda **given: given)


@given(arguments)
def test_arguments_are_judged_as_by_jsonschema(arguments):
    """Another implementation of the specification finds the same ones wrong."""
    fits = jsonschema.Draft202012Validator(SCHEMA).is_valid(arguments)
    event(f"fits: {fits}")
    assert call_tool(tool(), ToolCall("f", arguments)).is_error is not fits


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "city is missing: a string"),
        ({"city": 1}, "city must be a string, not 1"),
        ({"city": "a", "days": "3"}, 'days must be an integer, not "3"'),
        ({"city": "a", "days": 3.5}, "days must be an integer, not 3.5"),
        ({"city": "a", "days": True}, "days must be an integer, not true"),
        ({"city": "a", "share": False}, "share must be a number, not false"),
        ({"city": "a", "unit": "K"}, 'unit must be one of "C", "F", 1, null, not "K"'),
        ({"city": "a", "unit": True}, "not true"),
        ({"city": "a", "maybe": ""}, 'maybe must be an integer or null, not ""'),
        ({"city": "a", "either": 1}, "either must be a string or true or false, not 1"),
        ({"city": "a", "tags": ["b", 1]}, r"tags\[1\] must be a string, not 1"),
        ({"city": "a", "place": {"in": {}}}, "place.lat is missing: a number; place.in.lat"),
        ({"city": "a", "counts": {"b": None}}, "counts.b must be an integer, not null"),
        ({"city": "a", "town": "b"}, r"town is unknown \(known: city, days, .*counts\)"),
        ({"city": ["b" * 200]}, r"not \[\"b{78}\.\.\.\."),
    ],
)  # fmt: skip
def test_wrong_argument_is_explained(arguments, says):
    result = call_tool(tool(), ToolCall("f", arguments))
    assert result.is_error
    with pytest.raises(ValueError, match=f"Wrong arguments: .*{says}"):
        raise ValueError(result.text)


def test_all_problems_are_said_at_once():
    result = call_tool(tool(), ToolCall("f", {"days": "x", "town": 1}))
    assert result.text.count(";") == 2


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer"},
        {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        {"$ref": "#/$defs/Int"},
        {"allOf": [{"$ref": "#/$defs/Int"}]},
        {"type": "integer", "enum": [3]},
    ],
)
def test_whole_float_is_an_integer(schema):
    whole = {"properties": {"a": schema}, "$defs": {"Int": {"type": "integer"}}}
    got = []
    counting = Tool(name="f", description="", parameters=whole, run=lambda a: got.append(a))  # fmt: skip
    assert not call_tool(counting, ToolCall("f", {"a": 3.0})).is_error
    assert [type(value) for value in got] == [int]


@pytest.mark.parametrize(
    "schema", [{"type": "number"}, {}, {"type": ["number", "null"]}]
)
def test_float_stays_one_where_it_may(schema):
    result = call_tool(tool({"properties": {"a": schema}}), ToolCall("f", {"a": 3.0}))
    assert result.text == '{"a": 3.0}'


def test_what_the_schema_does_not_name_is_passed_on():
    result = call_tool(tool({"type": "object"}), ToolCall("f", {"a": [1, {"b": 2.0}]}))
    assert result.text == '{"a": [1, {"b": 2.0}]}'


def test_arguments_without_an_end_are_refused():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    schema = {"properties": {"a": {"$ref": "#/$defs/List"}}, "$defs": {"List": {"items": {"$ref": "#/$defs/List"}}}}  # fmt: skip
    result = call_tool(tool(schema), ToolCall("f", {"a": deep}))
    assert result.text == "The arguments are nested too deeply."
