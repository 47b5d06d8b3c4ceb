"""Options of `from_pretrained`, and what they say of a checkpoint."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gemma.gm import ckpts
from gemma.gm.typing import DType
from gemma.hf._arrays import device_of, dtype_of
from gemma.hf._config import PretrainedConfig, read_config
from gemma.hf._fixed_options import FixedOption, take_fixed
from gemma.hf._hub_options import HubOptions
from gemma.hf._quantization import weights_of

_ONE_DEVICE = "a model is on one device, or sharded with jax.device_put"
_OWN_KERNELS = "the implementation is chosen by the device"
# What is always so, and may be said.
FIXED = {
    "low_cpu_mem_usage": FixedOption((True, False, None), "weights are read once"),
    "use_safetensors": FixedOption(
        (True, None), "pickled weights are never read; convert them with transformers"
    ),
    "weights_only": FixedOption((True,), "pickled weights are never read"),
    "from_flax": FixedOption((False, True), "the format is found by the files"),
    "from_pt": FixedOption((False, True), "the format is found by the files"),
    "from_tf": FixedOption((False,), "convert the checkpoint with transformers"),
    "output_loading_info": FixedOption(
        (False,), "a checkpoint that does not fit raises an error"
    ),
    "ignore_mismatched_sizes": FixedOption(
        (False,), "sizes must be those of the config"
    ),
    "attn_implementation": FixedOption(
        (None, "eager", "sdpa"),
        "there is one implementation, which 'eager' and 'sdpa' name",
    ),
    "experts_implementation": FixedOption((None,), _OWN_KERNELS),
    "use_kernels": FixedOption((False,), _OWN_KERNELS),
    "allow_all_kernels": FixedOption((False,), _OWN_KERNELS),
    "kernel_config": FixedOption((None,), _OWN_KERNELS),
    "state_dict": FixedOption((None,), "set model.params"),
    "variant": FixedOption((None,), "pass the path of a folder with those files"),
    "key_mapping": FixedOption((None,), "rename the tensors of the files"),
    "fusion_config": FixedOption((None,), _OWN_KERNELS),
    "disable_mmap": FixedOption((None, False), "files are mapped while they are read"),
    "tqdm_class": FixedOption((None,), "progress is huggingface_hub's"),
    "adapter_kwargs": FixedOption((None, {}), "merge adapters with peft first"),
    "adapter_name": FixedOption((None, "default"), "merge adapters with peft first"),
    "generation_config": FixedOption((None,), "set model.generation_config"),
    "max_memory": FixedOption((None,), _ONE_DEVICE),
    "offload_folder": FixedOption((None,), _ONE_DEVICE),
    "offload_buffers": FixedOption((False,), _ONE_DEVICE),
    "offload_state_dict": FixedOption((None, False), _ONE_DEVICE),
    "distributed_config": FixedOption((None,), _ONE_DEVICE),
    "device_mesh": FixedOption((None,), _ONE_DEVICE),
    "tp_plan": FixedOption((None,), _ONE_DEVICE),
    "tp_size": FixedOption((None,), _ONE_DEVICE),
}
HONOURED = (
    "config",
    "device",
    "device_map",
    "dtype",
    "load_in_4bit",
    "load_in_8bit",
    "quantization_config",
    "torch_dtype",
)


class Options(NamedTuple):
    """What was asked of `from_pretrained`, in our terms.

    Attributes:
      weights: Dtype or kind of the weights; see `gm.ckpts.Checkpoint.read_params`.
      activation_dtype: Dtype of what is computed, if said.
      device: Where to put the params, if said.
      hub: Which files.
    """

    weights: DType | None
    activation_dtype: DType | None
    device: Any
    hub: HubOptions

    @classmethod
    def take(cls, options: dict[str, Any]) -> tuple["Options", dict[str, Any]]:
        """Returns the options, and what is left: fields of the config.

        Raises:
          TypeError: An option of transformers that has no equal here.
          ValueError: A value is out of range.
        """
        files, rest = HubOptions.take(take_fixed(options, FIXED))
        old, new = rest.pop("torch_dtype", None), rest.pop("dtype", None)
        dtype = dtype_of(old if new is None else new)
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
            files,
        ), rest


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
    path = options.hub.resolve(name)
    if config is None:
        stated = read_config(path)
        config = kind.from_dict(kind.own(stated, path), **fields)
    elif fields:
        raise TypeError(
            f"Set {', '.join(map(repr, fields))} in the config, since one was passed."
        )
    checkpoint = ckpts.open_checkpoint(path, text_only=text_only)
    # As in transformers, a head that differs is not tied, whatever the config says.
    has_head = checkpoint.config.has_head
    transformer = dataclasses.replace(config.transformer_config, has_head=has_head)
    if text_only:
        transformer = dataclasses.replace(transformer, vision=None)
    return Opened(config, dataclasses.replace(checkpoint, config=transformer))
