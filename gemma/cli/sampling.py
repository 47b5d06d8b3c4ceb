"""Options that say how tokens are drawn, and which may be."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemma.cli.errors import CommandError

if TYPE_CHECKING:
    from gemma.gm.text import Constraint, Sampling


def _read_whose(text: str) -> str:
    if text != "model":
        raise typer.BadParameter(f"{text!r} is not 'model', the only choice.")
    return text


def _read_bias(text: str) -> dict[int, float]:
    """Returns the biases of such as 236761:-5,107:-inf."""
    try:
        pairs = [pair.split(":") for pair in text.split(",")]
        return {int(token_id): float(bias) for token_id, bias in pairs}
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not written as 236761:-5,107:-inf (ids of tokens)."
        ) from None


TopKOption = Annotated[
    int | None,
    typer.Option(metavar="K", help="Draw among the K most probable tokens."),
]
TopPOption = Annotated[
    float | None,
    typer.Option(
        metavar="P", help="Draw among the best tokens that together have mass P."
    ),
]
MinPOption = Annotated[
    float | None,
    typer.Option(
        metavar="P", help="Draw among tokens at least P times as likely as the best."
    ),
]
RepetitionOption = Annotated[
    float | None,
    typer.Option(
        "--repetition-penalty",
        metavar="X",
        help="Above 1: tokens that prompt or answer have already become less likely.",
    ),
]
PresenceOption = Annotated[
    float | None,
    typer.Option(
        "--presence-penalty",
        metavar="X",
        help="Taken from the logits of tokens that the answer has already.",
    ),
]
FrequencyOption = Annotated[
    float | None,
    typer.Option(
        "--frequency-penalty",
        metavar="X",
        help="Taken as often as the answer has a token already.",
    ),
]
BiasOption = Annotated[
    Any,
    typer.Option(
        "--logit-bias",
        metavar="ID:BIAS,...",
        parser=_read_bias,
        help="Added to the logits of tokens, by id: 236761:-5,107:-inf",
    ),
]
SamplingOption = Annotated[
    str | None,
    typer.Option(
        "--sampling",
        metavar="model",
        parser=_read_whose,
        help="Draw as the checkpoint's files recommend; single options such as "
        "--temperature take the place of single values. Not the default.",
    ),
]
SchemaOption = Annotated[
    str | None,
    typer.Option(
        metavar="JSON",
        help="The answer is JSON that matches this schema, given as text or as a file.",
    ),
]
RegexOption = Annotated[
    str | None,
    typer.Option(metavar="PATTERN", help="The whole answer matches this expression."),
]
ChoiceOption = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="The answer is one of these. Repeatable."),
]


def make_sampling(
    given: Mapping[str, Any], own: Mapping[str, Any], *, whose: str | None, path: Path
) -> "Sampling":
    """Returns how tokens are drawn.

    Args:
      given: What options say, by fields of `Sampling`; None for those that are absent.
      own: The command's defaults, unless the checkpoint is to say.
      whose: "model" to take what the checkpoint recommends.
      path: The checkpoint.

    Raises:
      CommandError: The checkpoint recommends nothing.
      ValueError: A value is out of range.
    """
    from gemma.gm.text import Sampling

    explicit = {name: value for name, value in given.items() if value is not None}
    if whose is None:
        return Sampling(**{**own, **explicit})
    from gemma.gm.ckpts import read_generation_defaults

    recommended = read_generation_defaults(path).sampling
    if not recommended:
        raise CommandError(
            f"{path.name} recommends no sampling.",
            hint="Leave --sampling out, or say how: --temperature, --top-k, --top-p.",
        )
    return Sampling(**{**recommended, **explicit})


def make_constraint(
    schema: str | None, regex: str | None, choice: list[str] | None
) -> "Constraint | None":
    """Returns what the answer must match, if anything.

    Raises:
      typer.BadParameter: More than one was given.
      ValueError: It is no schema, expression or choice.
      OSError: The file of a schema cannot be read.
    """
    if sum(map(bool, (schema is not None, regex is not None, choice))) > 1:
        raise typer.BadParameter("only one of --schema, --regex and --choice at a time")
    from gemma.gm.text import Constraint

    if schema is not None:
        return Constraint.json_schema(_schema_text(schema))
    if regex is not None:
        return Constraint.regex(regex)
    return Constraint.choice(choice) if choice else None


def _schema_text(given: str) -> str:
    """Returns a schema that was given as text, or as the file that holds it."""
    if not given.strip():
        raise ValueError("The schema is empty; give a JSON schema, or a file with one.")
    if given.lstrip()[:1] in ("{", "t", "f") and not Path(given[:255]).is_file():
        return given
    try:
        return Path(given).expanduser().read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{given} is not UTF-8: it is no JSON schema.") from None
