"""Options of `save_pretrained`."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from gemma.gm import ckpts
from gemma.gm._numbers import check_count
from gemma.gm.typing import Params
from gemma.hf._fixed_options import FixedOption, take_fixed

_SAFETENSORS = "safetensors is what is written"
_UPLOAD = "upload the folder with huggingface_hub"
# Of tokenizers and models.
FIXED_UPLOAD = {
    "push_to_hub": FixedOption((False, None), _UPLOAD),
    "repo_id": FixedOption((None,), _UPLOAD),
    "commit_message": FixedOption((None,), _UPLOAD),
    "create_pr": FixedOption((False,), _UPLOAD),
    "token": FixedOption((None,), _UPLOAD),
}
FIXED = FIXED_UPLOAD | {
    "safe_serialization": FixedOption((True, None), _SAFETENSORS),
    "save_function": FixedOption((None,), _SAFETENSORS),
    "variant": FixedOption((None,), "rename the files"),
    "state_dict": FixedOption((None,), "pass params="),
    "is_main_process": FixedOption((True,), "call it in one process only"),
    "save_peft_format": FixedOption((True,), "there are no adapters in a model"),
    "save_original_format": FixedOption((True,), "there is one format"),
    "distributed_checkpoint": FixedOption((False,), "there is one format"),
}
FIXED_TOKENIZER = FIXED_UPLOAD | {
    "legacy_format": FixedOption((None, False, True), "there is one format"),
    "filename_prefix": FixedOption((None,), "rename the files"),
    "safe_serialization": FixedOption((True, None), _SAFETENSORS),
    "save_jinja_files": FixedOption((True,), "there is one format"),
}
HONOURED = ("max_shard_size", "params")
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


class SavingOptions(NamedTuple):
    """How a model is written.

    Attributes:
      params: What is written, if not what the model holds.
      max_shard_bytes: The most bytes of a file.
    """

    params: Params | None
    max_shard_bytes: int

    @classmethod
    def take(cls, options: Mapping[str, Any]) -> "SavingOptions":
        """Returns the options of `save_pretrained`.

        Raises:
          TypeError: There is no such option, or it cannot be honoured.
          ValueError: A size is none.
        """
        rest = take_fixed(options, FIXED)
        params = rest.pop("params", None)
        size = rest.pop("max_shard_size", ckpts.MAX_SHARD_BYTES)
        if rest:
            raise TypeError(f"save_pretrained has no {', '.join(map(repr, rest))}.")
        return cls(params, size_bytes("max_shard_size", size))


def refuse_saving_options(options: Mapping[str, Any]) -> None:
    """Refuses options of a tokenizer's `save_pretrained` that cannot be honoured."""
    if unknown := take_fixed(options, FIXED_TOKENIZER):
        raise TypeError(f"save_pretrained has no {', '.join(map(repr, unknown))}.")


def size_bytes(name: str, size: int | str) -> int:
    """Returns a number of bytes, which may be written "2GB" or "500MiB".

    Raises:
      TypeError: It is neither a number nor a text.
      ValueError: The text states no size, or it is less than a byte.
    """
    if not isinstance(size, str):
        return check_count(name, size, at_least=1)
    match = re.fullmatch(r"(\d+)\s*([KMGT]I?B)?", size.strip().upper(), re.ASCII)
    if match is None:
        raise ValueError(
            f"{name} is {size!r}; a number of bytes is needed, or a size such as '2GB' "
            "or '500MiB'."
        )
    return check_count(name, int(match[1]) * _UNITS.get(match[2], 1), at_least=1)
