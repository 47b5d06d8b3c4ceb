"""Jinja, as transformers runs chat templates: in a sandbox, on plain data.

Reference: "Writing a chat template" of transformers.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

_MISSING = (
    "The chat template of this checkpoint is none of the published ones, and rendering it "
    "needs Jinja, which is not installed: pip install 'gemma-jax[templates]'"
)
# Before it there were ways out of the sandbox.
_OLDEST = (3, 1, 6)


class ChatTemplateError(ValueError):
    """A chat template cannot be read, or refuses a conversation."""


def render_jinja(source: str, variables: Mapping[str, Any]) -> str:
    """Returns what a chat template writes.

    Args:
        source: The template.
        variables: What it reads: `messages`, `add_generation_prompt`, ...

    Raises:
        ImportError: Jinja is not installed.
        ChatTemplateError: The template is damaged, or refuses the messages.
    """
    template = _compiled(source)
    try:
        return template.render(plain_data(variables))
    except RefusedError as error:
        raise ChatTemplateError(
            f"The chat template refuses this conversation: {error}"
        ) from None
    except RecursionError:
        raise ChatTemplateError("The chat template calls itself without end.") from None
    except Exception as error:  # any: its code is a stranger's
        raise ChatTemplateError(
            f"The chat template cannot write this conversation: {error}"
        ) from None


@functools.lru_cache(maxsize=32)
def template_variables(source: str) -> frozenset[str]:
    """Returns the names that a chat template reads and does not set."""
    from jinja2 import meta

    environment = _environment()
    return frozenset(meta.find_undeclared_variables(environment.parse(source)))


def plain_data(value: Any) -> Any:
    """Returns a value in types of JSON, whose methods are harmless.

    What has no such form, such as an image, becomes the name of its type.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    for kind in (str, bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Mapping):
        return {str(key): plain_data(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain_data(entry) for entry in value]
    return f"<{type(value).__name__}>"


class RefusedError(Exception):
    """Raised by `raise_exception` of templates."""


@functools.lru_cache(maxsize=32)
def _compiled(source: str) -> Any:
    environment = _environment()
    from jinja2 import TemplateSyntaxError

    try:
        return environment.from_string(source)
    except TemplateSyntaxError as error:
        raise ChatTemplateError(
            f"The chat template cannot be read: line {error.lineno}: {error.message}"
        ) from None


@functools.cache
def _environment() -> Any:
    try:
        import jinja2
        from jinja2.ext import Extension, loopcontrols
        from jinja2.nodes import CallBlock
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise ImportError(_MISSING) from None
    version = tuple(map(int, jinja2.__version__.split(".")[:3]))
    if version < _OLDEST:
        raise ImportError(
            f"Jinja {jinja2.__version__} is installed, whose sandbox is not safe: "
            "pip install 'jinja2>=3.1.6'"
        )

    class Generation(Extension):
        """`{% generation %}`, which marks what the model wrote: written as it is."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            call = self.call_method("written")
            return CallBlock(call, [], [], body).set_lineno(line)

        def written(self, caller: Any) -> str:
            return caller()

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    # Jinja's own filter escapes what HTML would read.
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _raise_exception(message: str) -> None:
    raise RefusedError(message)


def _strftime_now(format: str) -> str:
    import datetime

    return datetime.datetime.now().strftime(format)
