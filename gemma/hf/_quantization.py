"""`quantization_config`: which of our kinds of weights it asks for."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from gemma.gm.typing import DType
from gemma.hf._arrays import dtype_of

_FOUR_BITS = {"nf4": "nf4", "int4": "int4"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BitsAndBytesConfig:
    """Weights that are packed while they are read; see `gm.peft.quantize`.

    Attributes:
      load_in_8bit: int8 in groups of 32.
      load_in_4bit: 4 bits in groups; the embedding int8.
      bnb_4bit_quant_type: "nf4", or "int4" for whole numbers with a minimum.
      bnb_4bit_compute_dtype: Dtype of what is computed.
    """

    load_in_8bit: bool = False
    load_in_4bit: bool = False
    bnb_4bit_quant_type: str = "nf4"
    bnb_4bit_compute_dtype: Any = None

    def __post_init__(self):
        if self.load_in_8bit and self.load_in_4bit:
            raise ValueError("Pass load_in_8bit or load_in_4bit, not both.")
        if self.bnb_4bit_quant_type not in _FOUR_BITS:
            raise ValueError(
                f"bnb_4bit_quant_type is {self.bnb_4bit_quant_type!r}; choose 'nf4' or "
                "'int4'."
            )
        dtype_of(self.bnb_4bit_compute_dtype)

    @property
    def weights(self) -> str | None:
        """What `gm.ckpts.Checkpoint.read_params` calls it; None for neither."""
        if self.load_in_8bit:
            return "int8"
        return _FOUR_BITS[self.bnb_4bit_quant_type] if self.load_in_4bit else None


def weights_of(
    config: "BitsAndBytesConfig | Mapping[str, Any] | None",
    *,
    load_in_8bit: bool,
    load_in_4bit: bool,
) -> tuple[str | None, DType | None]:
    """Returns the kind of the weights, and the dtype of what is computed if said.

    Raises:
      TypeError: The config has a field that cannot be honoured.
      ValueError: A value is out of range.
    """
    if config is None:
        config = BitsAndBytesConfig(
            load_in_8bit=load_in_8bit, load_in_4bit=load_in_4bit
        )
    elif load_in_8bit or load_in_4bit:
        raise ValueError("Say it in quantization_config, or by load_in_..., not both.")
    if isinstance(config, Mapping):
        known = {field.name for field in dataclasses.fields(BitsAndBytesConfig)}
        stated = {n: v for n, v in config.items() if n != "quant_method"}
        if unknown := stated.keys() - known:
            raise TypeError(
                f"quantization_config has {', '.join(map(repr, sorted(unknown)))}, which "
                f"cannot be honoured; it may have {', '.join(sorted(known))}."
            )
        config = BitsAndBytesConfig(**stated)
    if not isinstance(config, BitsAndBytesConfig):
        raise TypeError(
            "quantization_config must be a dict or a gemma.hf.BitsAndBytesConfig; found "
            f"a {type(config).__name__}."
        )
    return config.weights, dtype_of(config.bnb_4bit_compute_dtype)
