"""Plain weights of the leaves that DeepMind's wrappers of models leave behind.

`gm.nn.LoRA` adds pairs of factors beside weights, `gm.nn.IntWrapper` and
`peft.quantize` put an integer kernel and a scale in a weight's place, and quantization
aware training has it under another name. Here each is the weight that they compute
with: `kernel / scale`, and `w + a b`, without a factor before it.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import jax.numpy as jnp
import numpy as np

from gemma.gm.ckpts._errors import CheckpointError

_LORA = re.compile(r"(.+)/lora/([ab])")
_LORA_WRAPPER = re.compile(r"(.+)/_LoRAEinsum_(\w+)")
# A weight that has no name of its own is the wrapper's "0", and theirs is "w".
_WRAPPED = re.compile(
    r"(.+)/_(?:IntEinsum|SimulateQuantizedEinsum)_(\w+)/(kernel|scale)"
)
_IN_PLACE = re.compile(r"(.+_einsum)/(kernel|scale)")
# Weights whose inputs are not their first axes.
_HEADS = re.compile(r"/(?:q|kv|qkv)_einsum/")
_GATING = re.compile(r"/gating_einsum(?:/|$)")


class Arrays(Protocol):
    """Arrays by name."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of an array."""
        ...

    def dtype(self, name: str) -> np.dtype:
        """Returns the dtype of an array."""
        ...

    def read(self, name: str) -> Any:
        """Returns an array."""
        ...


class _Leaves(NamedTuple):
    """What a weight is made of: the names of its leaves."""

    kernel: str
    scale: str | None = None
    a: str | None = None
    b: str | None = None


class PlainArrays:
    """The weights that some leaves stand for; `Arrays` themselves."""

    def __init__(self, leaves: Arrays, names: Iterable[str], where: object):
        """Finds out which leaves belong together.

        Args:
          leaves: The leaves.
          names: Which of them to look at.
          where: Where they come from, for error messages.

        Raises:
          CheckpointError: LoRA factors or a scale stand alone.
        """
        self._leaves, self._where = leaves, where
        self._made_of = _group(list(names), where)

    @property
    def names(self) -> list[str]:
        """The names of the weights, as if nothing was wrapped around the model."""
        return list(self._made_of)

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of a weight."""
        return self._leaves.shape(self._made_of[name].kernel)

    def dtype(self, name: str) -> np.dtype:
        """Returns the dtype of a weight, that of the scale if it is quantized."""
        made = self._made_of[name]
        return self._leaves.dtype(made.scale or made.kernel)

    def is_stored(self, name: str) -> bool:
        """Whether a weight is a leaf as it is."""
        made = self._made_of[name]
        return made.scale is None and made.a is None

    def read(self, name: str) -> Any:
        """Returns a weight; in float32 if it is made of several leaves."""
        made = self._made_of[name]
        weight = self._leaves.read(made.kernel)
        if made.scale is not None:
            scale = self._leaves.read(made.scale).astype(np.float32)
            weight = weight.astype(np.float32) / scale
        if made.a is not None and made.b is not None:
            a, b = (self._leaves.read(x).astype(np.float32) for x in (made.a, made.b))
            weight = weight.astype(np.float32) + self._product(name, weight.shape, a, b)
        return weight

    def _product(self, name: str, shape: tuple[int, ...], a: Any, b: Any) -> Any:
        """Returns the product of LoRA factors, laid out as the weight.

        Args:
          name: The weight.
          shape: Its shape.
          a: [inputs..., rank].
          b: [rank, outputs...].
        """
        xp: Any = np if isinstance(a, np.ndarray) else jnp
        if a.ndim and b.ndim and a.shape[-1] == b.shape[0]:
            product = xp.tensordot(a, b, axes=1)
            if _HEADS.search(name):
                product = xp.moveaxis(product, 0, -2)
            elif _GATING.search(name):
                is_square = len(shape) == 3 and shape[1] == shape[2]
                if is_square:
                    raise CheckpointError(
                        f"The LoRA factors of {name!r} in {self._where} cannot be added "
                        "to it: its inputs are as many as its outputs, so nothing tells "
                        "which axis is which. Merge them where they were trained."
                    )
                product = xp.moveaxis(product, 0, shape.index(a.shape[0], 1))
            if product.shape == shape:
                return product
        raise CheckpointError(
            f"The LoRA factors of {name!r} in {self._where} have shapes "
            f"{tuple(a.shape)} and {tuple(b.shape)}, which do not fit a weight of "
            f"{tuple(shape)}."
        )


class FlatTree:
    """The leaves of a tree in memory, by their paths; `Arrays`."""

    def __init__(self, flat: Mapping[str, Any]):
        self._flat = flat

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of a leaf."""
        return tuple(np.shape(self._flat[name]))

    def dtype(self, name: str) -> np.dtype:
        """Returns the dtype of a leaf."""
        return np.dtype(self._flat[name].dtype)

    def read(self, name: str) -> Any:
        """Returns a leaf."""
        return self._flat[name]


def _group(names: list[str], where: object) -> dict[str, _Leaves]:
    """Returns the leaves of each weight, by the weight's name."""
    found: dict[str, _Leaves] = {}
    scales, factors = {}, {}
    for name in names:
        if lora := _LORA.fullmatch(name):
            factors.setdefault(lora[1], {})[lora[2]] = name
        elif (weight := _unwrapped(name, names)) is None:
            found[name] = _Leaves(name)
        elif name.endswith("/scale"):
            scales[weight] = name
        else:
            found[weight] = _Leaves(name)
    for weight, scale in scales.items():
        if weight not in found:
            raise CheckpointError(f"{where} has scale {scale!r} and no kernel for it.")
        found[weight] = found[weight]._replace(scale=scale)
    for place, pair in factors.items():
        weight = _adapted(place, found)
        if weight is None or len(pair) != 2:
            raise CheckpointError(
                f"{where} has LoRA factor {next(iter(pair.values()))!r}, but not the "
                "other one and the weight that they change."
            )
        found[weight] = found[weight]._replace(**pair)
    return found


def _unwrapped(name: str, names: list[str]) -> str | None:
    """Returns the weight of a kernel or scale; None for a name that is a weight."""
    if wrapped := _WRAPPED.fullmatch(name):
        begin, own, _ = wrapped.groups()
        return f"{begin}/{'w' if own.isdigit() else own}"
    if in_place := _IN_PLACE.fullmatch(name):
        return f"{in_place[1]}/w"
    kernel = name.removesuffix("/scale") + "/kernel"
    if name.endswith("/scale") and kernel in names:
        return kernel
    return None


def _adapted(place: str, weights: Mapping[str, _Leaves]) -> str | None:
    """Returns the weight that LoRA factors at a place change, if it is there."""
    if wrapper := _LORA_WRAPPER.fullmatch(place):
        begin, own = wrapper.groups()
        place = begin if own.isdigit() else f"{begin}/{own}"
    places = (place, f"{place}/w", f"{place}/kernel")
    return next((name for name in places if name in weights), None)
