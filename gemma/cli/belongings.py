"""What goes with the weights of a model: tokenizer, chat template, how to draw."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemma.cli.errors import CommandError

if TYPE_CHECKING:
    from gemma.gm.ckpts import Checkpoint
    from gemma.gm.text import Tokenizer

# In a GGUF file: of the model as a whole.
_GENERAL = ("name", "basename", "finetune", "size_label", "license")


def folder_files(checkpoint: "Checkpoint") -> dict[str, bytes]:
    """Returns more files for a folder made of a GGUF file; the library writes the others.

    Programs that are older than tokenizer.json read the tokenizer.model.
    """
    if _gguf_metadata(checkpoint) is None:
        return {}
    return {"tokenizer.model": _tokenizer(checkpoint.path).model_bytes()}


def gguf_tokenizer(checkpoint: "Checkpoint") -> "Tokenizer":
    """Returns the tokenizer of a model, without which there is no GGUF file.

    Raises:
      CommandError: There is none.
    """
    is_gguf = _gguf_metadata(checkpoint) is not None
    place = checkpoint.path if is_gguf else _folder(checkpoint)
    try:
        return _tokenizer(place)
    except FileNotFoundError:
        raise CommandError(
            f"{place} has no tokenizer, which a GGUF file must hold.",
            hint="Put the model's tokenizer.json or tokenizer.model into the folder.",
        ) from None


def gguf_chat_template(checkpoint: "Checkpoint") -> str | None:
    """Returns the chat template of a model, if it has one."""
    from gemma.gm.ckpts import read_chat_templates

    is_gguf = _gguf_metadata(checkpoint) is not None
    return read_chat_templates(
        checkpoint.path if is_gguf else _folder(checkpoint)
    ).default


def gguf_metadata(checkpoint: "Checkpoint") -> dict[str, Any]:
    """Returns more keys and values for a GGUF file: names, ends, how to draw tokens."""
    return _more_ends(gguf_tokenizer(checkpoint)) | _names_and_sampling(checkpoint)


def _more_ends(tokenizer: "Tokenizer") -> dict[str, int]:
    """Returns the keys of ends other than those of a text and a turn, which readers know.

    Raises:
      CommandError: There are more than GGUF has keys for.
    """
    known = {tokenizer.eos_id, tokenizer.end_of_turn_id}
    more = [i for i in tokenizer.stop_ids if i not in known]
    keys = ("tokenizer.ggml.eom_token_id", "tokenizer.ggml.eot_token_id")
    if len(more) > len(keys):
        raise CommandError(
            f"The model ends its answers at {len(tokenizer.stop_ids)} tokens, and a GGUF "
            f"file can name {len(known) + len(keys)}.",
            hint="Shorten eos_token_id in its generation_config.json.",
        )
    return dict(zip(keys, more, strict=False))


def _names_and_sampling(checkpoint: "Checkpoint") -> dict[str, Any]:
    from gemma.gm.ckpts import SAMPLING_KEYS

    stated = _gguf_metadata(checkpoint)
    if stated is not None:
        kept = [f"general.{key}" for key in _GENERAL]
        kept += [f"general.sampling.{key}" for key in SAMPLING_KEYS.values()]
        return {key: stated[key] for key in kept if key in stated}
    config = _read_json(_folder(checkpoint) / "generation_config.json")
    found = {key: config[key] for key in SAMPLING_KEYS if config.get(key) is not None}
    sampling = {f"general.sampling.{SAMPLING_KEYS[key]}": v for key, v in found.items()}
    return sampling | {"general.name": _name_of(_folder(checkpoint).absolute())}


def _name_of(folder: Path) -> str:
    """Returns the name of a model, which the caches of hubs hold further up."""
    if (
        folder.parent.name == "snapshots"
    ):  # models--google--gemma-3-1b-it/snapshots/1a2b
        return folder.parent.parent.name.rpartition("--")[2]
    return folder.parent.name if folder.name.isdecimal() else folder.name


def _gguf_metadata(checkpoint: "Checkpoint") -> Mapping[str, Any] | None:
    """Returns what a GGUF file states; None of a folder."""
    from gemma.gm.ckpts import find_gguf, read_gguf_metadata

    gguf = find_gguf(checkpoint.path)
    return None if gguf is None else read_gguf_metadata(gguf)


def _folder(checkpoint: "Checkpoint") -> Path:
    return checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent


def _tokenizer(path: Path) -> "Tokenizer":
    from gemma.gm.text import Tokenizer

    return Tokenizer.from_path(path)


def _read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a file, empty if there is none."""
    try:
        stated = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise CommandError(
            f"{path} is not JSON: {error}",
            hint="Repair the file, or remove it: the model does without.",
        ) from None
    return stated if isinstance(stated, dict) else {}
