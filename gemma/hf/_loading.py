"""Options of `from_pretrained`, and what they say of a checkpoint."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gemma.gm import ckpts, hub
from gemma.gm.typing import DType
from gemma.hf._arrays import device_of, dtype_of
from gemma.hf._config import PretrainedConfig, read_config
from gemma.hf._quantization import weights_of

# What cannot be honoured: why, or what to do.
_REFUSED = {
    "trust_remote_code": "code of a checkpoint is never run",
    "output_loading_info": "a checkpoint that does not fit raises an error",
    "state_dict": "set model.params",
    "from_tf": "convert the checkpoint with transformers",
    "ignore_mismatched_sizes": "sizes must be those of the config",
    "max_memory": "a model is on one device, or sharded with jax.device_put",
    "offload_folder": "a model is on one device, or sharded with jax.device_put",
    "tp_plan": "shard model.params with jax.device_put",
    "cache_dir": "set HF_HOME",
    "force_download": "remove the model from the cache of huggingface_hub",
    "local_files_only": "set HF_HUB_OFFLINE=1",
    "token": "log in with huggingface_hub, or set HF_TOKEN",
}
# What is always so, and may be said.
_ALWAYS = {
    "low_cpu_mem_usage": (True,),
    "use_safetensors": (True, None),
    "trust_remote_code": (False, None),
    "from_flax": (False, True),
    "from_pt": (False, True),
    "output_loading_info": (False,),
    "ignore_mismatched_sizes": (False,),
    "attn_implementation": (None, "eager", "sdpa"),
}


class Options(NamedTuple):
    """What was asked of `from_pretrained`, in our terms.

    Attributes:
      weights: Dtype or kind of the weights; see `gm.ckpts.Checkpoint.read_params`.
      activation_dtype: Dtype of what is computed, if said.
      device: Where to put the params, if said.
      revision: A branch or commit on Hugging Face.
    """

    weights: DType | None
    activation_dtype: DType | None
    device: Any
    revision: str | None

    @classmethod
    def take(cls, options: dict[str, Any]) -> tuple["Options", dict[str, Any]]:
        """Returns the options, and what is left: fields of the config.

        Raises:
          TypeError: An option of transformers that has no equal here.
          ValueError: A value is out of range.
        """
        rest = {n: v for n, v in options.items() if not _is_always(n, v)}
        for name in rest.keys() & _REFUSED.keys():
            raise TypeError(f"{name} cannot be honoured: {_REFUSED[name]}.")
        dtype = dtype_of(rest.pop("dtype", rest.pop("torch_dtype", None)))
        rest.pop("torch_dtype", None)
        packed, computed = weights_of(
            rest.pop("quantization_config", None),
            load_in_8bit=rest.pop("load_in_8bit", False),
            load_in_4bit=rest.pop("load_in_4bit", False),
        )
        device = rest.pop("device", None)
        placed = rest.pop("device_map", None)
        if isinstance(placed, Mapping):
            if set(placed) != {""}:
                raise ValueError(
                    "device_map names devices for parts of the model; a model is on one "
                    "device, or sharded with jax.device_put."
                )
            placed = placed[""]
        if packed is not None:
            # Of packed weights the dtype says what is computed in.
            computed = computed or dtype
        return cls(
            packed or dtype,
            computed,
            device_of(device if device is not None else placed),
            rest.pop("revision", None),
        ), rest


def _is_always(name: str, value: Any) -> bool:
    if name not in _ALWAYS:
        return False
    if value in _ALWAYS[name]:
        return True
    if name == "attn_implementation":
        raise ValueError(
            f"attn_implementation is {value!r}; there is one implementation, which "
            "'eager' and 'sdpa' name."
        )
    if name not in _REFUSED:
        raise ValueError(f"{name}={value!r} is not possible: {name} is always so.")
    return False


class Opened(NamedTuple):
    """A checkpoint, and the config that a model of it has."""

    config: PretrainedConfig
    checkpoint: ckpts.Checkpoint


def open_pretrained(
    name: str | Path | None,
    kind: type[PretrainedConfig],
    options: Options,
    config: PretrainedConfig | None,
    fields: Mapping[str, Any],
    *,
    text_only: bool,
) -> Opened:
    """Opens a checkpoint.

    Args:
      name: See `gm.hub.resolve`.
      kind: The class of the config.
      options: What was asked.
      config: Instead of the checkpoint's.
      fields: Fields of the config, instead of those.
      text_only: Leave the eyes of a model out.
    """
    path = hub.resolve(at_revision(name, options.revision))
    if config is None:
        stated = read_config(path)
        config = kind.from_dict(kind.own(stated, path), **fields)
    elif fields:
        raise TypeError(
            f"Set {', '.join(map(repr, fields))} in the config, since one was passed."
        )
    checkpoint = ckpts.open_checkpoint(path, text_only=text_only)
    transformer = config.transformer_config
    if text_only:
        transformer = dataclasses.replace(transformer, vision=None)
    return Opened(config, dataclasses.replace(checkpoint, config=transformer))


def at_revision(name: str | Path | None, revision: str | None) -> str | Path | None:
    """Returns the name of a model at a revision; a folder has one only."""
    if name is None or revision is None or Path(name).expanduser().exists():
        return name
    return f"{name}@{revision}"
