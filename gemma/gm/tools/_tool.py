"""A tool: something that a model may ask to be run."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from gemma.gm.tools._docstring import read_docstring
from gemma.gm.tools._function import arguments_kind, name_of

_NAME = re.compile(r"[A-Za-z0-9_./:-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """Something that a model may ask to be run.

    Attributes:
        name: What the model calls it.
        description: What it does and when it helps, for the model to read.
        parameters: A JSON schema of the object of its arguments.
        run: Takes the arguments by name, as JSON has them, and returns the result.

    Example:
        >>> @Tool.from_function
        ... def weather(city: str, days: int = 1) -> str:
        ...     '''Returns the forecast.
        ...
        ...     Args:
        ...         city: Where, such as "Oslo".
        ...     '''
        ...     return f"{city}: sun, {days} d"
        >>> weather.run(city="Rome")
        'Rome: sun, 1 d'
        >>> weather.parameters["required"]
        ['city']
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    run: Callable[..., object]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"A tool cannot be called {self.name!r}. Names are made of the letters"
                " a to z, digits, and _ - . / : ; pass name='...'."
            )
        stated = self.parameters.get("type", "object")
        if stated != "object":
            raise ValueError(
                f"The parameters of {self.name} have the type {stated!r}; the arguments"
                " of a tool are an object."
            )

    @classmethod
    def from_function(
        cls,
        function: Callable[..., object],
        *,
        name: str | None = None,
        description: str | None = None,
    ) -> Self:
        """Returns a function as a tool. Works as a decorator too.

        Its type hints become the schema: str, int, float, bool, None, list, dict with
        str keys, Literal, enums, unions, dataclasses and TypedDicts. A parameter with a
        default may be left out. Enums and dataclasses are made from JSON before the
        function is called. What the `Args:` of a Google-style docstring or
        `Annotated[int, "..."]` say of a parameter becomes its description.

        Args:
            function: Takes its arguments by name.
            name: What the model calls it; None for the function's own name.
            description: What the model reads of it; None for the docstring up to its
                first section.

        Raises:
            TypeError: A parameter has no type hint, or one that JSON has no values for.
        """
        if inspect.iscoroutinefunction(function):
            raise TypeError(
                f"{name_of(function)} is async, and a tool is called without await."
                " Wrap it in a function that calls asyncio.run."
            )
        documented = read_docstring(inspect.getdoc(function) or "")
        arguments = arguments_kind(function, documented.entries)

        def run(**given: Any) -> object:
            return function(**arguments.read(given))

        return cls(
            name=name_of(function) if name is None else name,
            description=documented.summary if description is None else description,
            parameters=arguments.schema,
            run=run,
        )
