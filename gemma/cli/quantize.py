"""gemma quantize: a model in, the same model with fewer bits a weight out."""

import enum
import os
from pathlib import Path
from typing import Annotated

import typer

from gemma.cli.belongings import folder_files
from gemma.cli.errors import CommandError, explained
from gemma.cli.interrupt import end_in_order_at_ctrl_c
from gemma.cli.options import JsonOption, ModelOption
from gemma.cli.storage import storage_of, storage_words
from gemma.cli.terminal import Table, loading_bar, note, write_json, write_tables


class Method(enum.StrEnum):
    """How matrices are packed; see `gm.peft.quantize`."""

    INT8 = "int8"
    INT4 = "int4"
    NF4 = "nf4"


@explained
def quantize(
    folder: Annotated[Path, typer.Argument(metavar="DST", help="The folder to make.")],
    method: Annotated[
        Method,
        typer.Option(
            metavar="METHOD",
            help="int8 (8.5 bits a weight, hardly any loss), int4 (4.6 bits) or nf4 "
            "(4.5 bits). The embedding is int8 in each.",
        ),
    ],
    model: ModelOption = None,
    json: JsonOption = False,
) -> None:
    """Write a copy of a model with fewer bits a weight."""
    end_in_order_at_ctrl_c()
    if os.path.lexists(folder):
        raise CommandError(
            f"{folder} exists.", hint="Choose another name or remove it."
        )
    from gemma.gm import hub
    from gemma.gm.ckpts import (
        AS_STORED,
        classifier_of,
        open_checkpoint,
        read_classifier,
        save_model,
    )
    from gemma.gm.weights import num_params

    before = open_checkpoint(hub.resolve(model))
    files = folder_files(before)
    with loading_bar("Quantizing", "Writing") as progress:
        options = {"dtype": method.value, "progress": progress}
        classifier = classifier_of(before)
        if classifier is None:
            params = before.read_params(**options)
        else:
            params = read_classifier(before, classifier, **options)
        made = classifier or before.model
        save_model(folder, made, params, dtype=AS_STORED, files=files)
    stored, packed = storage_of(before), storage_of(open_checkpoint(folder))
    if json:
        write_json(
            {
                "folder": str(folder),
                "method": method.value,
                "before": stored,
                "after": packed,
            }
        )
        return
    count = num_params(before.model.specs())
    rows = [
        ("Method", method.value),
        ("Before", storage_words(stored, count)),
        ("After", storage_words(packed, count)),
    ]
    write_tables([Table(str(folder), (), rows)])
    note(f'gemma generate --model {folder} "Once upon a time"')
