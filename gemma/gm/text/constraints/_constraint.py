"""What an answer must look like: a JSON schema, a regular expression, or a choice."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gemma.gm.text.constraints._examples import example_of
from gemma.gm.text.constraints._schema import prepare, read_schema
from gemma.gm.text.constraints._schema_values import ConstraintError

__all__ = ["Constraint", "ConstraintError", "Grammar"]

# Tokens are the model's to choose: llguidance is not to force how text is cut into them.
_HEADER = '%llguidance {"no_forcing": true}\nstart: '
# A model without an idea goes on in blanks: so a single line, and at most one space after
# a comma or a colon. No \u: a key that is spelled with it would pass for another one.
_JSON_STYLE = {
    "whitespace_flexible": False,
    "item_separator": ", ?",
    "key_separator": ": ?",
    "json_allowed_escapes": 'nrbtf\\"',
}
_ASCII_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_", "s": r" \t\n\r\f\v"}
_LINE_ENDS = {"/": r"\/", "\n": r"\n", "\r": r"\r"}
_ESCAPE = re.compile(r"\\(.)|[/\n\r]", re.DOTALL)
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_LOWER_COUNT = re.compile(r"\{\s*(\d+)")
_UNSUPPORTED_GROUP = re.compile(r"\(\?(?:<?[=!]|P=|>)")
_BACKREFERENCE = re.compile(r"\\(?:[1-9]|k<)")


@dataclass(frozen=True, slots=True)
class Grammar:
    """A constraint in the language of llguidance.

    Attributes:
      text: The grammar.
      has_marks: Whether a string that may go on with `MARK` may go on with anything.
      has_names: Whether names of properties may be taken.
      words: Texts that may be a part of an answer, and are hard to find by letters.
      most_missing: How many characters, at most, the shortest way from any beginning of
        an answer to a whole one takes, where this is known.
    """

    text: str
    has_marks: bool = False
    has_names: bool = False
    words: tuple[str, ...] = ()
    most_missing: int | None = None


@dataclass(frozen=True, slots=True)
class Constraint:
    r"""What an answer must match; equal when made from the same thing.

    Attributes:
      kind: What it was made from.
      source: That thing as text: a JSON schema, an expression, a JSON list of options.

    Example:
      ```python
      Constraint.choice(["yes", "no"])
      Constraint.regex(r"\d{4}-\d{2}-\d{2}")
      Constraint.json_schema({"type": "array", "items": {"type": "string"}})
      ```
    """

    kind: Literal["json_schema", "regex", "choice"]
    source: str

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any] | str | bool) -> "Constraint":
        """Returns the constraint that the answer is JSON as a schema says.

        It is written on one line: after a comma or colon there may be one space, and
        blanks nowhere else. Properties come in the order of the schema.

        Args:
          schema: A JSON schema, or the text of one.

        Raises:
          ValueError: It is no JSON schema, or it is too deep or too large.
          TypeError: It is no text, mapping or boolean.
        """
        found = read_schema(schema)
        return cls("json_schema", json.dumps(found, ensure_ascii=False))

    @classmethod
    def regex(cls, pattern: str) -> "Constraint":
        r"""Returns the constraint that the whole answer matches an expression.

        Args:
          pattern: Written as for Rust's regex crate: as in Python, without look-around
            and backreferences. `\d`, `\w` and `\s` are ASCII.

        Raises:
          ValueError: The expression is wrong, as far as its form tells.
          TypeError: It is no text.
        """
        _check_text(pattern, "A pattern")
        _check_pattern(pattern)
        return cls("regex", pattern)

    @classmethod
    def choice(cls, options: Sequence[str]) -> "Constraint":
        """Returns the constraint that the answer is one of some texts.

        With an empty text among them the model may say nothing.

        Raises:
          ValueError: There are no options but an empty one, or one stands twice.
          TypeError: They are no list of texts.
        """
        if isinstance(options, str):
            raise TypeError("The options of a choice are a list; found a single text.")
        if not options:
            raise ValueError("A choice needs at least one option; found none.")
        if list(options) == [""]:
            raise ValueError(
                "The only option of the choice is empty: no other answer would match it."
            )
        for option in options:
            _check_text(option, "An option")
        option, count = Counter(options).most_common(1)[0]
        if count > 1:
            raise ValueError(
                f"The option {option!r} stands in the choice {count} times."
            )
        return cls("choice", json.dumps(list(options), ensure_ascii=False))

    @property
    def options(self) -> tuple[str, ...]:
        """The texts of a choice, none for other kinds."""
        return tuple(json.loads(self.source)) if self.kind == "choice" else ()

    def grammar(self) -> Grammar:
        """Returns the constraint as llguidance reads it.

        Raises:
          ConstraintError: A schema has something that is not supported, or nothing
            matches it.
        """
        match self.kind:
            case "json_schema":
                return _schema_grammar(self.source)
            case "regex":
                text = f"{_HEADER}/{lark_pattern(self.source)}/"
                example = example_of(self.source)
                return Grammar(
                    text,
                    words=() if example is None else (example,),
                    most_missing=_most_missing(self.source),
                )
            case "choice":
                # An expression, so that they are one automaton.
                options = map(re.escape, self.options)
                return Grammar(f"{_HEADER}/{lark_pattern('|'.join(options))}/")


def completing_grammar(pattern: str, beginning: str, num_more: int) -> str:
    """Returns a grammar of texts that match a pattern, begin so, and end soon.

    Every way on from the beginning leads to the end within so many characters, so one
    that looks for it cannot get lost.
    """
    limited = f"{lark_pattern(re.escape(beginning))}(?s:.{{0,{num_more}}})"
    return f"{_HEADER}TEXT\nTEXT: /{lark_pattern(pattern)}/ & /{limited}/"


def lark_pattern(pattern: str) -> str:
    """Returns a pattern as it stands between slashes in a grammar."""
    return _ESCAPE.sub(_lark_escape, pattern)


def _lark_escape(found: re.Match[str]) -> str:
    letter = found[1]
    if letter is None or letter in _LINE_ENDS:
        return _LINE_ENDS[letter or found[0]]
    if letter.lower() not in _ASCII_CLASSES:
        return found[0]
    caret = "^" if letter.isupper() else ""
    return f"[{caret}{_ASCII_CLASSES[letter.lower()]}]"


def _most_missing(pattern: str) -> int:
    """Returns a bound on the characters that the beginning of a match lacks.

    Each letter of the pattern stands for one character at most, as often as the counts
    around it demand. What is missing is some of these characters, each once.
    """
    most = len(pattern)
    for count in _LOWER_COUNT.findall(pattern):
        most *= max(int(count), 1)
    return most


def _schema_grammar(source: str) -> Grammar:
    prepared = prepare(json.loads(source))
    schema = {**prepared.schema, "x-guidance": _JSON_STYLE}
    return Grammar(
        f"{_HEADER}%json {json.dumps(schema)}",
        has_marks=prepared.has_marks,
        has_names=prepared.has_names,
        words=prepared.words,
    )


def _check_text(text: object, name: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{name} is a text; found {type(text).__name__}.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} holds the lone surrogate {text[error.start]!r}, which is half a"
            " character and in no answer."
        ) from error


def _check_pattern(pattern: str) -> None:
    """Raises for what can be said without the engine, which sees the rest."""
    if not pattern:
        raise ValueError("The pattern is empty: only an empty answer would match it.")
    plain = _CLASS.sub("c", pattern)
    if found := _UNSUPPORTED_GROUP.search(plain) or _BACKREFERENCE.search(plain):
        raise ValueError(
            f"The pattern {pattern!r} has {found[0]!r}: look-around, atomic groups and"
            " backreferences are not supported."
        )
    plain = re.sub(r"\\.", "", plain)
    if plain.count("(") != plain.count(")"):
        raise ValueError(f"The pattern {pattern!r} has a bracket without its partner.")
