"""What the files of a checkpoint say about generating: when to stop, how to sample.

Reference: `generation_config.json` and `config.json` of transformers; the keys
`tokenizer.ggml.*_token_id` and `general.sampling.*` of GGUF files.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._gguf import find_gguf, read_gguf_metadata
from gemma.gm.ckpts._json import read_json_object

# Tokens that end an answer, by the names of GGUF: of a text, a turn and a message.
_GGUF_ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")
# Our name, which is transformers' too: that of `general.sampling` in GGUF files.
SAMPLING_KEYS = {
    "temperature": "temp",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GenerationDefaults:
    """What a checkpoint recommends.

    Attributes:
      stop_ids: Tokens that end an answer, in ascending order; empty if none is stated.
      sampling: Fields of `gm.text.Sampling` by name; empty for greedy decoding.
    """

    stop_ids: tuple[int, ...] = ()
    sampling: Mapping[str, float] = dataclasses.field(default_factory=dict)


def read_generation_defaults(
    path: Path, gguf_metadata: Mapping[str, Any] | None = None
) -> GenerationDefaults:
    """Returns what the files of a checkpoint say: nothing, if they do not.

    Args:
      path: A checkpoint, as `open_checkpoint` takes it, or one of its files.
      gguf_metadata: What a GGUF file states, if it has been read.

    Raises:
      CheckpointError: A file is damaged, or states what is no number.
    """
    if gguf_metadata is None and (gguf := find_gguf(path)):
        gguf_metadata = read_gguf_metadata(gguf)
    if gguf_metadata is not None:
        return _defaults_from_metadata(gguf_metadata, path)
    folder = path if path.is_dir() else path.parent
    where = folder / "generation_config.json"
    generation = read_json_object(where, is_optional=True)
    config = read_json_object(folder / "config.json", is_optional=True)
    stated = [generation.get("eos_token_id"), config.get("eos_token_id")]
    # Without do_sample the other numbers are not used.
    drawn = generation if generation.get("do_sample") else {}
    sampling = {name: drawn.get(name) for name in SAMPLING_KEYS}
    if drawn and sampling["temperature"] is None:
        sampling["temperature"] = 1.0
    return _defaults(stated, sampling, where)


def _defaults_from_metadata(
    metadata: Mapping[str, Any], where: object
) -> GenerationDefaults:
    stated = [metadata.get(f"tokenizer.ggml.{key}") for key in _GGUF_ENDS]
    sampling = {
        ours: metadata.get(f"general.sampling.{theirs}")
        for ours, theirs in SAMPLING_KEYS.items()
    }
    if sampling["temperature"] is None and any(
        value is not None for value in sampling.values()
    ):
        sampling["temperature"] = 1.0
    return _defaults(stated, sampling, where)


def _defaults(
    stated: list[Any], sampling: Mapping[str, Any], where: object
) -> GenerationDefaults:
    ids: set[int] = set()
    for value in stated:
        for token_id in value if isinstance(value, list) else [value]:
            if token_id is None:
                continue
            if type(token_id) is not int or token_id < 0:
                raise CheckpointError(
                    f"{where} names {token_id!r} as the token that ends a text; "
                    "a token id is a whole number of 0 or more."
                )
            ids.add(token_id)
    kept = {name: value for name, value in sampling.items() if value is not None}
    for name, value in kept.items():
        if type(value) not in (int, float) or not math.isfinite(value):
            raise CheckpointError(
                f"{where} has {name} {value!r}; it must be a finite number."
            )
    # transformers writes 0 for "all tokens".
    if not kept.get("top_k", True):
        del kept["top_k"]
    return GenerationDefaults(stop_ids=tuple(sorted(ids)), sampling=kept)
