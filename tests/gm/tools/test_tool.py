import enum
import functools
import subprocess
import sys
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    NotRequired,
    Optional,
    TypedDict,
)

import pytest

from gemma.gm.tools import Tool


class Unit(enum.Enum):
    CELSIUS = "C"
    FAHRENHEIT = "F"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Place:
    """A place.

    Attributes:
        lat: North of the equator.
        lon: East of Greenwich,
            in degrees.
    """

    lat: float
    lon: Annotated[float, "East."] = 0.0
    tags: list[str] = field(default_factory=list)


class Trip(TypedDict):
    to: Place
    days: NotRequired[int]


@dataclass
class Tree:
    children: "list[Tree]"


def schema_of(hint):
    def function(x):
        raise NotImplementedError

    function.__annotations__["x"] = hint
    return Tool.from_function(function).parameters["properties"]["x"]


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (list, {"type": "array"}),
        (dict, {"type": "object"}),
        (Any, {}),
        ("str", {"type": "string"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (typing.List[int], {"type": "array", "items": {"type": "integer"}}),  # noqa: UP006
        (dict[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a", None], {"enum": ["a", None]}),
        (Unit, {"type": "string", "enum": ["C", "F"]}),
        (Level, {"type": "integer", "enum": [1, 2]}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045
        (Annotated[int, 7, "How many."], {"type": "integer", "description": "How many."}),
    ],
    ids=str,
)  # fmt: skip
def test_hint_becomes_a_schema(hint, schema):
    assert schema_of(hint) == schema


PLACE = {
    "type": "object",
    "properties": {
        "lat": {"type": "number", "description": "North of the equator."},
        "lon": {"type": "number", "description": "East."},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["lat"],
    "additionalProperties": False,
}


def test_dataclass_becomes_an_object():
    assert schema_of(Place) == PLACE


def test_typed_dict_becomes_an_object():
    assert schema_of(Trip) == {
        "type": "object",
        "properties": {"to": PLACE, "days": {"type": "integer"}},
        "required": ["to"],
        "additionalProperties": False,
    }


def forecast(
    place: Place,
    days: int,
    unit: Unit = Unit.CELSIUS,
    *,
    trip: Trip | None = None,
    where: Place | str = "",
) -> list:
    """Returns the weather.

    In two paragraphs.

    Args:
        place (Place): Where to
            look.
        days: How many: at most 9.
        unit: Of the temperature.

    Returns:
        A list.
    """
    return [place, days, unit, trip, where]


def test_docstring_describes_the_tool_and_its_parameters():
    tool = Tool.from_function(forecast)
    assert (tool.name, tool.description) == (
        "forecast",
        "Returns the weather.\n\nIn two paragraphs.",
    )
    described = {k: v.get("description") for k, v in tool.parameters["properties"].items()}  # fmt: skip
    assert described == {
        "place": "Where to look.",
        "days": "How many: at most 9.",
        "unit": "Of the temperature.",
        "trip": None,
        "where": None,
    }


def test_parameter_with_a_default_may_be_left_out():
    parameters = Tool.from_function(forecast).parameters
    assert parameters["required"] == ["place", "days"]
    assert parameters["additionalProperties"] is False
    assert parameters["properties"]["unit"]["default"] == "C"
    assert parameters["properties"]["trip"]["default"] is None


def test_default_that_json_cannot_write_is_not_stated():
    def function(place: Place = Place(1)):  # noqa: B008
        raise NotImplementedError

    assert "default" not in Tool.from_function(function).parameters["properties"]["place"]  # fmt: skip


def test_function_gets_the_values_that_json_stands_for():
    place = {"lat": 1, "tags": ["a"]}
    run = Tool.from_function(forecast).run
    assert run(place=place, days=2, unit="F", trip={"to": place}, where=place) == [
        Place(1, tags=["a"]),
        2,
        Unit.FAHRENHEIT,
        {"to": Place(1, tags=["a"])},
        Place(1, tags=["a"]),
    ]


def test_function_still_takes_its_own_values():
    run = Tool.from_function(forecast).run
    place = Place(1)
    found = run(place=place, days=2, unit=Unit.FAHRENHEIT, where="Oslo")
    assert found == [place, 2, Unit.FAHRENHEIT, None, "Oslo"]


def test_unknown_argument_is_what_python_says():
    with pytest.raises(TypeError, match="unexpected keyword argument 'town'"):
        Tool.from_function(forecast).run(place={"lat": 1}, days=1, town="Oslo")


def test_name_and_description_can_be_given():
    tool = Tool.from_function(forecast, name="weather", description="Tells it.")
    assert (tool.name, tool.description) == ("weather", "Tells it.")


def test_methods_and_partial_functions_are_functions():
    class Counter:
        def add(self, number: int) -> int:
            """Adds."""
            return number + 1

    def multiply(a: int, b: int) -> int:
        return a * b

    assert Tool.from_function(Counter().add).run(number=1) == 2
    double = Tool.from_function(functools.partial(multiply, b=2), name="double")
    assert double.run(a=3) == 6
    assert double.parameters["required"] == ["a"]


@pytest.mark.parametrize(
    "hint", [Path, bytes, tuple[int, ...], dict[int, str], set[str], Literal[b"a"], complex],
    ids=str,
)  # fmt: skip
def test_hint_that_json_has_no_values_for_is_named(hint):
    with pytest.raises(TypeError, match="Parameter 'x' of function has the type hint"):
        schema_of(hint)


def test_class_that_holds_itself_is_named():
    with pytest.raises(TypeError, match=r"'x' of function, Tree.children: Tree holds"):
        schema_of(Tree)


def test_class_constants_are_no_fields():
    @dataclass
    class Bag:
        size: int
        sizes: ClassVar[bytes] = b""

    assert list(schema_of(Bag)["properties"]) == ["size"]


def test_name_that_only_a_function_knows_is_named():
    @dataclass
    class Bag:
        inner: "Inner"

    with pytest.raises(
        TypeError, match=r"a type hint of Bag cannot be looked up: .*Inner"
    ):
        schema_of(Bag)


def test_hint_inside_a_class_is_named():
    @dataclass
    class Bag:
        content: bytes

    with pytest.raises(TypeError, match=r"'x' of function, Bag.content has the type"):
        schema_of(Bag)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def f(a): ...", "Parameter 'a' of f has no type hint"),
        ("def f(*a: int): ...", r"f takes \*a: int"),
        ("def f(**a: int): ...", r"f takes \*\*a: int"),
        ("def f(a: int, /): ...", "f takes a: int"),
        ("def f(a: 'Unknown'): ...", "name 'Unknown' is not defined"),
        ("async def f(a: int): ...", "f is async"),
    ],
)
def test_function_that_cannot_be_a_tool_is_named(source, says):
    scope: dict[str, Any] = {}
    exec(source, scope)
    with pytest.raises(TypeError, match=says):
        Tool.from_function(scope["f"])


@pytest.mark.parametrize("name", ["", "<lambda>", "a b", "é", "a{b"])
def test_name_that_no_call_could_hold_is_refused(name):
    with pytest.raises(ValueError, match="A tool cannot be called"):
        Tool.from_function(forecast, name=name)


def test_parameters_are_an_object():
    with pytest.raises(ValueError, match="parameters of f have the type 'string'"):
        Tool(name="f", description="", parameters={"type": "string"}, run=print)


def test_tools_load_neither_jax_nor_numpy_nor_mcp():
    code = "import sys, gemma.gm.tools; print({'jax', 'numpy', 'mcp'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
