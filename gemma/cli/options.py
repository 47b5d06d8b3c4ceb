"""Flags that commands share."""

import json
from typing import Annotated, Any

import typer

# What weights can be held as, and short names.
_WEIGHTS = ("as-stored", "float32", "bfloat16", "float16", "int8", "int4", "nf4")
_SHORT = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


def _read_weights(name: str) -> str:
    """Returns what `dtype` of the library's functions is called with."""
    long = _SHORT.get(name, name)
    if long not in _WEIGHTS:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(_WEIGHTS)}.")
    return long


ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Folder, GGUF file or published name (gemma-3-1b-it). "
        "Default: the embedded Gemma 3 270M.",
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        parser=_read_weights,
        help="What weights are held as: float32, bfloat16 (bf16), float16; int8, int4, "
        "nf4: packed while they are read; as-stored: as in the file, packed or not. Default: "
        "as-stored on a CPU with kernels, else float32; bfloat16 elsewhere.",
    ),
]
CacheLengthOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Most tokens of prompt and answer together. Default: 4096, or what the "
        "model was trained for if less.",
    ),
]
SeedOption = Annotated[
    int | None, typer.Option(metavar="N", help="Make the draws repeatable.")
]
TemplateOption = Annotated[
    str | None,
    typer.Option(
        "--chat-template-kwargs",
        metavar="JSON",
        help="Variables of the checkpoint's own chat template, as a JSON object.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
JsonLinesOption = Annotated[
    bool, typer.Option("--json", help="Over a pipe: print one JSON object an answer.")
]
TextArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="TEXT",
        help="The text; what is piped follows it after an empty line. Without it, or "
        "with -, stdin alone is read. One line end at the end is left out.",
        show_default=False,
    ),
]


def parse_object(option: str, text: str | None) -> dict[str, Any] | None:
    """Returns the JSON object that an option states.

    Raises:
      typer.BadParameter: It is none.
    """
    if text is None:
        return None
    try:
        stated = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"it is no JSON: {error}", param_hint=option) from None
    if not isinstance(stated, dict):
        raise typer.BadParameter(
            'it is no JSON object, such as {"name": "value"}', param_hint=option
        )
    return stated
