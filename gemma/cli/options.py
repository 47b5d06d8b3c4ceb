"""Flags that commands share, and what stands on stdin."""

import os
import sys
from typing import Annotated

import typer

from gemma.cli.errors import CommandError

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
SeedOption = Annotated[
    int | None, typer.Option(metavar="N", help="Make the draws repeatable.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
TextArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="TEXT",
        help="The text; without it, or with -, stdin is read, where one line end at "
        "the end is left out.",
        show_default=False,
    ),
]


def read_text(argument: str | None) -> str:
    """Returns the argument, or what stands on stdin if it is absent or `-`.

    Raises:
      CommandError: It is not UTF-8, or nobody has given any.
    """
    if argument is not None and argument != "-":
        # Python hides bytes of the command line that are not UTF-8 in surrogates.
        return decode_text(os.fsencode(argument))
    if sys.stdin is None or (argument is None and sys.stdin.isatty()):
        raise CommandError(
            "There is no text.",
            hint="Give it in quotes behind the command, or through a pipe; with - it "
            "is read from the terminal.",
        )
    text = decode_text(sys.stdin.buffer.read())
    # As $(...) does: `echo` and editors add what nobody wants a model to continue.
    return text.removesuffix("\n").removesuffix("\r")


def decode_text(data: bytes) -> str:
    """Returns the text that bytes of UTF-8 are.

    Raises:
      CommandError: They are not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CommandError(
            f"The text is not UTF-8: byte 0x{data[error.start]:02X} at offset "
            f"{error.start}.",
            hint="Convert it first: iconv -t UTF-8",
        ) from None
