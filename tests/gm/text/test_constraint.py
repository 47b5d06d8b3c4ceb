"""Constraints are checked when they are made; schemas are narrowed, never widened."""

import json
import subprocess
import sys
from types import MappingProxyType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gemma.gm.text.constraints._constraint import Constraint, ConstraintError
from gemma.gm.text.constraints._examples import example_of
from gemma.gm.text.constraints._schema import prepare, read_schema


def narrowed(schema):
    return prepare(read_schema(schema)).schema


def nested(depth, keyword="items"):
    schema = {"type": "string"}
    for _ in range(depth):
        schema = {keyword: schema if keyword == "items" else [schema]}
    return schema


def test_constraints_are_equal_by_value():
    schema = {"type": "object", "properties": {"a": {}}}
    assert Constraint.json_schema(schema) == Constraint.json_schema(json.dumps(schema))
    assert len({Constraint.regex("a"), Constraint.regex("a")}) == 1
    assert Constraint.choice(["a"]) != Constraint.choice(["b"])


def test_order_of_properties_makes_another_constraint():
    one = Constraint.json_schema({"properties": {"a": {}, "b": {}}})
    assert one != Constraint.json_schema({"properties": {"b": {}, "a": {}}})


def test_any_mapping_is_a_schema():
    schema = MappingProxyType({"items": MappingProxyType({"type": "null"})})
    assert Constraint.json_schema(schema).source == '{"items": {"type": "null"}}'


@pytest.mark.parametrize("text", ["{", "[1]", "1", '"a"', "null", '{"a": NaN}', ""])
def test_text_that_is_no_schema_is_refused(text):
    with pytest.raises(ValueError, match=r"not JSON|is an object or a boolean"):
        Constraint.json_schema(text)


@pytest.mark.parametrize("value", [None, 1, ["a"], object])
def test_value_that_is_no_schema_is_refused(value):
    with pytest.raises(TypeError, match="A JSON schema is a mapping"):
        Constraint.json_schema(value)


@pytest.mark.parametrize("value", [{"a": object()}, {"a": float("inf")}, {"a": {1, 2}}])
def test_value_inside_that_is_no_json_is_refused(value):
    with pytest.raises(ValueError, match="The schema is not JSON"):
        Constraint.json_schema(value)


@pytest.mark.parametrize("depth", [1_000, 100_000])
@pytest.mark.parametrize("keyword", ["items", "allOf"])
def test_deep_schema_is_refused(depth, keyword):
    with pytest.raises(ConstraintError, match="too deep"):
        Constraint.json_schema(nested(depth, keyword))


def test_deep_text_is_refused():
    with pytest.raises(ConstraintError, match="too deep"):
        Constraint.json_schema('{"items":' * 2_000 + "{}" + "}" * 2_000)


def test_schema_inside_itself_is_refused():
    schema: dict = {"type": "array"}
    schema["items"] = schema
    with pytest.raises(ConstraintError, match="too deep"):
        Constraint.json_schema(schema)


def test_large_schema_is_refused():
    text = json.dumps({"enum": ["x" * 100] * 100_000})
    assert len(text) > 10_000_000
    for schema in (text, json.loads(text)):
        with pytest.raises(ConstraintError, match="too large"):
            Constraint.json_schema(schema)


def test_chain_of_references_is_refused():
    """llguidance follows it by recursion, which would end the process."""
    defs = {f"d{i}": {"items": {"$ref": f"#/$defs/d{i + 1}"}} for i in range(2_000)}
    schema = {"$ref": "#/$defs/d0", "$defs": {**defs, "d2000": True}}
    with pytest.raises(ConstraintError, match="too deep"):
        Constraint.json_schema(schema).grammar()


def test_references_to_large_parts_are_followed_once():
    part = {"properties": {f"p{i}": {"type": "null"} for i in range(900)}}
    many = {f"r{i}": {"$ref": "#/$defs/part"} for i in range(900)}
    assert narrowed({"properties": many, "$defs": {"part": part}})["properties"] == many


def test_object_with_many_properties_is_refused():
    schema = {"properties": {f"p{i}": True for i in range(1_001)}}
    with pytest.raises(ConstraintError, match="more than 1,000 properties"):
        Constraint.json_schema(schema).grammar()


@pytest.mark.parametrize(
    "keyword",
    [
        "not", "if", "then", "else", "contains", "minContains", "maxContains",
        "uniqueItems", "propertyNames", "dependencies", "dependentRequired",
        "dependentSchemas", "unevaluatedItems", "unevaluatedProperties", "$dynamicRef",
    ],
)  # fmt: skip
def test_unsupported_keyword_is_named(keyword):
    schema = {"properties": {"a": {"anyOf": [{"items": {keyword: True}}]}}}
    with pytest.raises(ConstraintError, match=f"'{keyword.replace('$', '[$]')}'"):
        Constraint.json_schema(schema).grammar()


def test_keyword_behind_a_reference_is_named():
    schema = {"$ref": "#/parts/0/a~1b%20c", "parts": [{"a/b c": {"not": {}}}]}
    with pytest.raises(ConstraintError, match="'not'"):
        Constraint.json_schema(schema).grammar()


def test_property_with_the_name_of_a_keyword_is_a_property():
    schema = {"properties": {"not": {"type": "null"}, "if": True}, "required": ["not"]}
    assert narrowed(schema) == schema


def test_unique_items_that_need_not_be_are_no_matter():
    assert narrowed({"uniqueItems": False}) == {}


def test_options_of_llguidance_are_not_taken_from_a_schema():
    assert narrowed({"x-guidance": {"lenient": True}, "type": "null"}) == {
        "type": "null"
    }


@pytest.mark.parametrize("reference", ["http://a/b", "b.json", "#b", "#/$defs/b", 5])
def test_reference_that_leads_nowhere_is_named(reference):
    with pytest.raises(ConstraintError, match=r"reference|nothing at"):
        Constraint.json_schema({"$ref": reference, "$defs": {}}).grammar()


@pytest.mark.parametrize("place", ["#/$defs/a", "#/$defs/a/items"])
def test_schema_with_an_address_of_its_own_is_refused(place):
    """References inside it would mean other places."""
    part = {"$id": "http://a/b", "items": {"$ref": "#/$defs/c"}}
    schema = {"$ref": place, "$defs": {"a": part, "c": {}}}
    with pytest.raises(ConstraintError, match=r"'\$id' below its top"):
        Constraint.json_schema(schema).grammar()
    assert narrowed({"$id": "http://a/b", "type": "null"}) == {"type": "null"}


def test_names_that_may_repeat_are_not_counted():
    with pytest.raises(ConstraintError, match="'minProperties'"):
        Constraint.json_schema({"minProperties": 2}).grammar()
    assert narrowed({"minProperties": 2, "required": ["a"]})["minProperties"] == 2


@pytest.mark.parametrize(
    "value", ["\x00", "a\x1b", "\x7f", 2**53 + 1, 0.1 + 0.2, 1e300]
)
@pytest.mark.parametrize("make", [lambda v: {"const": v}, lambda v: {"enum": [[v]]}])
def test_literal_that_cannot_be_kept_is_refused(value, make):
    with pytest.raises(ConstraintError, match=r"asks for the (text|number)"):
        Constraint.json_schema(make(value)).grammar()


@pytest.mark.parametrize("value", [True, "\t\n\r\b\f", "é👩\u2028", 2**53, 0.1, 1e-7])
def test_literal_that_can_be_kept_stays(value):
    assert narrowed({"const": [value]}) == {"const": [value]}


@pytest.mark.parametrize("pattern", ["\x01", r"\x01", r"a\x7F", r"\u001b", r"\x{1}"])
def test_pattern_with_a_control_character_is_refused(pattern):
    with pytest.raises(ConstraintError, match="control character"):
        Constraint.json_schema({"pattern": pattern}).grammar()


@pytest.mark.parametrize("pattern", [r"^\x20$", r"^[\x00-\x1f]*$", r"\\x01", r"\t\n"])
def test_pattern_without_control_characters_stays(pattern):
    assert narrowed({"pattern": pattern})["pattern"] == pattern


@pytest.mark.parametrize(
    ("schema", "bounds"),
    [
        ({"minimum": 3, "maximum": 3.5}, (3, 3.5)),
        ({"exclusiveMinimum": 3}, (3.00000000000001, None)),
        ({"exclusiveMaximum": 1}, (None, 0.999999999999999)),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 0}, (1e-15, -1e-15)),
        ({"minimum": 1, "exclusiveMinimum": True}, (1.00000000000001, None)),
        ({"minimum": 1, "exclusiveMinimum": False}, (1, None)),
        ({"minimum": 5, "exclusiveMinimum": 3}, (5, None)),
        ({"maximum": 2**63 - 1, "minimum": -(2**63)}, (-(10**18), 10**18)),
        ({"maximum": 1.7e308}, (None, 10**18)),
        ({"minimum": 2**53 + 1}, (9007199254741000, None)),
    ],
)
def test_bounds_move_inward(schema, bounds):
    found = narrowed(schema)
    assert (found.get("minimum"), found.get("maximum")) == bounds
    assert not {"exclusiveMinimum", "exclusiveMaximum"} & found.keys()


@given(st.floats(-1e17, 1e17) | st.integers(-(10**17), 10**17))
@example(5e-324)
def test_bounds_never_move_outward(bound):
    inclusive = narrowed({"minimum": bound, "maximum": bound})
    assert inclusive["minimum"] >= bound >= inclusive["maximum"]
    exclusive = narrowed({"exclusiveMinimum": bound, "exclusiveMaximum": bound})
    assert exclusive["minimum"] > bound > exclusive["maximum"]


def test_bound_that_is_no_number_is_named():
    with pytest.raises(ConstraintError, match="'3', which is no number"):
        Constraint.json_schema({"minimum": "3"}).grammar()


def test_false_matches_nothing():
    with pytest.raises(ConstraintError, match="Nothing matches"):
        Constraint.json_schema(False).grammar()


def test_marks_mean_nothing_where_a_literal_holds_one():
    assert prepare({"const": "a"}).has_marks
    assert not prepare({"const": "a⁂"}).has_marks
    assert not prepare({"patternProperties": {"^a": True}}).has_marks


@pytest.mark.parametrize("pattern", ["(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b", r"(a)\1"])
def test_expression_that_no_automaton_knows_is_refused(pattern):
    with pytest.raises(ValueError, match="are not supported"):
        Constraint.regex(pattern)


@pytest.mark.parametrize("pattern", ["(a", "a)", "[(](", ""])
def test_broken_expression_is_refused(pattern):
    with pytest.raises(ValueError, match=r"bracket without|is empty"):
        Constraint.regex(pattern)


@pytest.mark.parametrize(
    "pattern", [r"\(", "[(]", r"[\](]", r"\\(a)", "(?P<a>b)(?i:c)"]
)
def test_brackets_that_are_letters_need_no_partner(pattern):
    assert Constraint.regex(pattern).source == pattern


@pytest.mark.parametrize("options", ["ab", ["a", 1], [None], b"ab"])
def test_choice_that_is_no_list_of_texts_is_refused(options):
    with pytest.raises(TypeError):
        Constraint.choice(options)


def test_choice_of_nothing_but_an_empty_text_is_refused():
    with pytest.raises(ValueError, match="only option of the choice is empty"):
        Constraint.choice([""])


def test_choice_without_options_is_refused():
    with pytest.raises(ValueError, match="at least one option"):
        Constraint.choice([])


def test_option_that_stands_twice_is_named():
    with pytest.raises(ValueError, match="'b' stands in the choice 2 times"):
        Constraint.choice(["a", "b", "b"])


@pytest.mark.parametrize(
    "make", [Constraint.regex, lambda text: Constraint.choice([text])]
)
def test_half_a_character_is_refused(make):
    with pytest.raises(ValueError, match="lone surrogate"):
        make("a\ud800")


def test_options_are_kept_in_order():
    assert Constraint.choice(("b", "", "é")).options == ("b", "", "é")
    assert Constraint.regex("b").options == ()


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("a+b*c?", "a"),
        (r"\d{3}-\w{2,}", "000-aa"),
        ("(ab|c|)d", "d"),
        ("[^a-y]", "z"),
        ("^(?P<n>x){2}$", "xx"),
        ("(?i)é", "é"),
        (r"\x41\u0042\.", "AB."),
    ],
)
def test_example_of_an_expression(pattern, text):
    assert example_of(pattern) == text


@pytest.mark.parametrize(
    "pattern", [")", "(", "*", r"\p{L}", "[[:alpha:]]", "a{99999}"]
)
def test_no_example_of_what_is_not_understood(pattern):
    assert example_of(pattern) is None


@pytest.mark.filterwarnings("ignore:Possible .* at position:FutureWarning")
@given(st.text(alphabet="ab(|)[]^{2,}*+?\\d."))
def test_any_text_may_be_asked_for_an_example(pattern):
    example_of(pattern)


def test_constraints_load_nothing_heavy():
    code = (
        "import sys; from gemma.gm.text.constraints._constraint import Constraint;"
        "Constraint.json_schema(True).grammar();"
        "print({'jax', 'llguidance'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
