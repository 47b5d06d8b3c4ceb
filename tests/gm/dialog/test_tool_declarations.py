import ast
from types import MappingProxyType, SimpleNamespace

import pytest

from gemma.gm.dialog import (
    FUNCTION_GEMMA,
    GEMMA3_JSON,
    GEMMA3_PYTHON,
    GEMMA4,
    declare_tools,
)

FORMATS = [GEMMA3_JSON, GEMMA3_PYTHON, FUNCTION_GEMMA, GEMMA4]
WEATHER = {
    "type": "object",
    "properties": {
        "location": {"type": "string", "description": 'Such as "Tokyo, JP"'},
        "unit": {"type": "string", "description": "Of it.", "enum": ["c", "f"]},
    },
    "required": ["location"],
}
NESTED = {
    "type": "object",
    "properties": {
        "Tags": {"type": "array", "items": {"type": "string"}},
        "where": {"$ref": "#/$defs/Where", "description": "The place."},
        "at": {"anyOf": [{"$ref": "#/$defs/Where"}, {"type": "null"}]},
        "days": {"type": ["integer", "null"], "default": 3},
        "any": {"type": ["integer", "string"]},
        "free": {"type": "object", "additionalProperties": {"type": "number"}},
    },
    "required": ["where", "Tags"],
    "$defs": {
        "Where": {
            "type": "object",
            "properties": {"lat": {"type": "number"}},
            "required": ["lat"],
        }
    },
}
TREE = {
    "type": "object",
    "properties": {"tree": {"$ref": "#/$defs/Tree"}},
    "$defs": {
        "Tree": {
            "type": "object",
            "properties": {"left": {"$ref": "#/$defs/Tree"}, "to": {"$ref": "#/no"}},
        },
        "Loop": {"$ref": "#/$defs/Loop"},
    },
}


def tool(name="f", description="Does it.", parameters=WEATHER):
    return SimpleNamespace(name=name, description=description, parameters=parameters)


def by_name(format):
    return format.name


@pytest.mark.parametrize("format", FORMATS, ids=by_name)
def test_no_tools_are_not_declared(format):
    assert declare_tools([], format) == ""


def test_declaration_as_google_documents_it():
    """After the example in "FunctionGemma formatting and best practices"."""
    assert declare_tools([tool("get_current_weather")], FUNCTION_GEMMA) == (
        "You are a model that can do function calling with the following functions"
        "<start_function_declaration>declaration:get_current_weather{"
        "description:<escape>Does it.<escape>,parameters:{properties:{"
        'location:{description:<escape>Such as "Tokyo, JP"<escape>,'
        "type:<escape>STRING<escape>},"
        "unit:{description:<escape>Of it.<escape>,"
        "enum:[<escape>c<escape>,<escape>f<escape>],type:<escape>STRING<escape>}},"
        "required:[<escape>location<escape>],type:<escape>OBJECT<escape>}}"
        "<end_function_declaration>"
    )


def test_notation_of_nested_types():
    """Compared with the published template of Gemma 4, where it knows such a schema."""
    where = (
        'properties:{lat:{type:<|"|>NUMBER<|"|>}},'
        'required:[<|"|>lat<|"|>],type:<|"|>OBJECT<|"|>}'
    )
    assert declare_tools([tool(parameters=NESTED)], GEMMA4) == (
        '<|tool>declaration:f{description:<|"|>Does it.<|"|>,parameters:{properties:{'
        'any:{type:[<|"|>INTEGER<|"|>,<|"|>STRING<|"|>]},'
        f"at:{{nullable:true,{where},"
        'days:{nullable:true,type:<|"|>INTEGER<|"|>},'
        'free:{properties:{},type:<|"|>OBJECT<|"|>},'
        'Tags:{items:{type:<|"|>STRING<|"|>},type:<|"|>ARRAY<|"|>},'
        f'where:{{description:<|"|>The place.<|"|>,{where}}},'
        'required:[<|"|>where<|"|>,<|"|>Tags<|"|>],type:<|"|>OBJECT<|"|>}}<tool|>'
    )


def test_python_of_nested_types():
    declared = declare_tools([tool(parameters=NESTED)], GEMMA3_PYTHON)
    assert (
        "def f(Tags: list[str], where: {'lat': float},"
        " at: {'lat': float} | None = ..., days: int | None = 3,"
        " any: int | str = ..., free: dict[str, float] = ...):\n"
        '    """Does it.\n\n    Args:\n        where: The place."""\n' in declared
    )


@pytest.mark.parametrize("parameters", [WEATHER, NESTED, TREE, {}])
def test_python_declarations_are_python(parameters):
    text = declare_tools([tool(parameters=parameters)], GEMMA3_PYTHON)
    start = text.index("def f(")
    (function,) = ast.parse(text[start : text.index("\n\nTo call a tool")]).body
    assert ast.get_docstring(function).startswith("Does it.")


def test_json_declares_a_tool_a_line():
    declared = declare_tools([tool("f"), tool("g", "Où?")], GEMMA3_JSON)
    lines = [line for line in declared.split("\n") if '"parameters"' in line]
    assert ['{"name": "f"' in lines[0], "Où?" in lines[1], len(lines)] == [
        True,
        True,
        2,
    ]


@pytest.mark.parametrize("format", FORMATS, ids=by_name)
def test_parameters_may_be_any_mapping(format):
    frozen = tool(parameters=MappingProxyType(WEATHER))
    assert declare_tools([frozen], format) == declare_tools([tool()], format)


@pytest.mark.parametrize("format", [GEMMA3_JSON, GEMMA3_PYTHON], ids=by_name)
def test_instructions_show_the_blocks_to_write(format):
    declared = declare_tools([tool()], format)
    assert format.call_open in declared
    assert "tool_output" in declared


@pytest.mark.parametrize("format", FORMATS, ids=by_name)
def test_schema_without_an_end_is_cut(format):
    assert len(declare_tools([tool(parameters=TREE)], format)) < 3_000


@pytest.mark.parametrize("format", [FUNCTION_GEMMA, GEMMA4], ids=by_name)
def test_description_cannot_end_its_declaration(format):
    evil = "".join(format.control_tokens)
    parameters = {"properties": {evil: {"description": evil, "enum": [evil]}}}
    declared = declare_tools([tool("f", evil, parameters)], format)
    assert declared.count(format.declaration_close) == 1
    assert format.call_open not in declared


@pytest.mark.parametrize(
    ("declared", "format", "says"),
    [
        (tool("my-tool"), GEMMA3_PYTHON, "the tool name 'my-tool'"),
        (tool("a b"), GEMMA4, "Gemma 4 cannot write the tool name 'a b'"),
        (
            tool(parameters={"properties": {"my-city": {"type": "string"}}}),
            GEMMA3_PYTHON,
            "the parameter name 'my-city'.*GEMMA3_JSON",
        ),
    ],
)
def test_name_that_cannot_be_written_is_refused(declared, format, says):
    with pytest.raises(ValueError, match=says):
        declare_tools([declared], format)
