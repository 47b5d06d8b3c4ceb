"""gemma convert: a model in one format in, the same model in another out."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemma.cli.conversion import FLOATS, TYPES, Format, compare, dtype_of, write_model
from gemma.cli.errors import CommandError, explained
from gemma.cli.interrupt import end_in_order_at_ctrl_c
from gemma.cli.options import JsonOption
from gemma.cli.storage import storage_of, storage_words
from gemma.cli.terminal import Table, loading_bar, note, write_json, write_tables

if TYPE_CHECKING:
    from gemma.gm.ckpts import Checkpoint

_SHORT = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_MAX_SHARD_BYTES = 5_000_000_000


def _read_dtype(name: str) -> str:
    """Returns what a weight becomes, by its long name."""
    long = _SHORT.get(name.lower(), name.lower())
    if long not in TYPES:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(TYPES)}.")
    return long


def _read_size(text: str) -> int:
    """Returns the bytes of such as 5GB."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip(), re.IGNORECASE)
    unit = 1000 ** _UNITS[found[2].upper()] if found else 0
    num_bytes = round(float(found[1]) * unit) if found else 0
    if num_bytes == 0:
        raise typer.BadParameter(f"{text!r} is no size such as 5GB or 500MB.")
    return num_bytes


@explained
def convert(
    model: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="The model: folder, GGUF file or published name, as for --model.",
        ),
    ],
    path: Annotated[
        Path, typer.Argument(metavar="DST", help="The file or folder to make.")
    ],
    format: Annotated[
        Format | None,
        typer.Option(
            metavar="FORMAT",
            help="huggingface, orbax (folders) or gguf (a file). Default: gguf if DST "
            "ends in .gguf.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            parser=_read_dtype,
            help="What matrices become: float32, bfloat16 (bf16) or float16; in GGUF "
            "files also q8_0 (8.5 bits a weight) or q4_0 (4.5 bits). Default: what the "
            "embedding is, float32 if it is packed.",
        ),
    ] = None,
    text_only: Annotated[
        bool, typer.Option("--text-only", help="Leave the eyes of the model out.")
    ] = False,
    max_shard_size: Annotated[
        int | None,
        typer.Option(
            metavar="SIZE",
            parser=_read_size,
            help="Largest file of a Hugging Face folder. Default: 5GB.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write a model in another format."""
    end_in_order_at_ctrl_c()
    to = _format_of(path, format)
    _check_options(to, dtype, max_shard_size)
    if os.path.lexists(path):
        raise CommandError(f"{path} exists.", hint="Choose another name or remove it.")
    from gemma.gm import hub
    from gemma.gm.ckpts import open_checkpoint

    source = open_checkpoint(hub.resolve(model), text_only=text_only)
    source.check()
    dtype = dtype or dtype_of(source)
    with loading_bar("Writing", "Finishing") as progress:
        shard = max_shard_size or _MAX_SHARD_BYTES
        write_model(source, path, to, dtype, max_shard_bytes=shard, progress=progress)
    made = open_checkpoint(path, text_only=source.config.vision is None)
    with loading_bar("Comparing", "Comparing") as progress:
        count = compare(source, made, to, dtype, progress)
    stored, written = storage_of(source), storage_of(made)
    if json:
        write_json(
            {
                "path": str(path),
                "format": to.value,
                "dtype": dtype,
                "before": stored,
                "after": written,
                "weights_compared": count,
            }
        )
        return
    _write_summary(path, source, dtype, stored, written, count)


def _format_of(path: Path, asked: Format | None) -> Format:
    """Returns the format to write, from the name of the file if nobody says."""
    is_gguf = path.suffix == ".gguf"
    if asked is None and not is_gguf:
        raise typer.BadParameter(
            f"{path} does not say what to write; give huggingface, orbax or gguf.",
            param_hint="--format",
        )
    if asked is not None and is_gguf != (asked is Format.GGUF):
        raise typer.BadParameter(
            f"{path} cannot be {asked.value}: GGUF files, and no others, end in .gguf.",
            param_hint="--format",
        )
    return asked or Format.GGUF


def _check_options(
    format: Format, dtype: str | None, max_shard_size: int | None
) -> None:
    """Refuses options that the format has no use for."""
    if format is not Format.GGUF and dtype not in (None, *FLOATS):
        raise typer.BadParameter(
            f"only GGUF files hold {dtype}; `gemma quantize` packs folders.",
            param_hint="--dtype",
        )
    if format is not Format.HUGGINGFACE and max_shard_size is not None:
        raise typer.BadParameter(
            "only Hugging Face folders have shards.", param_hint="--max-shard-size"
        )


def _write_summary(
    path: Path,
    source: "Checkpoint",
    dtype: str,
    stored: dict[str, Any],
    written: dict[str, Any],
    count: int,
) -> None:
    from gemma.gm.weights import num_params

    num_weights = num_params(source.model.specs())
    rows = [
        ("Dtype", dtype),
        ("Before", storage_words(stored, num_weights)),
        ("After", storage_words(written, num_weights)),
        ("Compared", f"{count} weights, each what rounding to {dtype} gives"),
    ]
    write_tables([Table(str(path), (), rows)])
    note(f'gemma generate --model {path} "Once upon a time"')
