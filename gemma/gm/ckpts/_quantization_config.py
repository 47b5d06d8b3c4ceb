"""What config.json says of packed weights: our own way is read, all others are refused.

A packed weight lies in the files as the bytes that kernels read.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._gguf_blocks import PACKED_KINDS
from gemma.gm.ckpts._names import check_sizes
from gemma.gm.kernels import Code, PackedKind, ScaleKind, packed_shape
from gemma.gm.peft import KINDS

_METHOD = "gemma-jax"
_KNOWN = frozenset(PACKED_KINDS.values()) | frozenset(KINDS.values())


class PackedTensor(NamedTuple):
    """A packed matrix in a file."""

    kind: PackedKind
    shape: tuple[int, int]

    @property
    def stored_shape(self) -> tuple[int, int]:
        """Shape of the tensor of bytes."""
        return packed_shape(self.kind, *self.shape)


def packed_to_json(tensors: Mapping[str, PackedTensor]) -> dict[str, Any]:
    """Returns what config.json gets for packed tensors: nothing if there are none."""
    weights = {
        name: {
            "shape": list(tensor.shape),
            "bits": tensor.kind.bits,
            "scale": tensor.kind.scale.name.lower(),
            "zero": tensor.kind.zero,
            "code": tensor.kind.code.name.lower(),
        }
        for name, tensor in tensors.items()
    }
    if not weights:
        return {}
    return {"quantization_config": {"quant_method": _METHOD, "weights": weights}}


def packed_from_json(
    stated: Mapping[str, Any], where: object
) -> dict[str, PackedTensor]:
    """Returns the packed tensors that a config.json states; none for plain weights.

    Args:
      stated: The JSON object.
      where: The file, for error messages.

    Raises:
      CheckpointError: The weights are packed by another program, or in a way unknown.
    """
    quantization = stated.get("quantization_config")
    if quantization is None:
        return {}
    is_object = isinstance(quantization, Mapping)
    method = quantization.get("quant_method") if is_object else quantization
    if method != _METHOD:
        raise CheckpointError(
            f"{where} says that its weights are quantized by {method!r}, which cannot "
            "be read. Take the checkpoint that is not quantized and pass int8, int4 or "
            "nf4 as the dtype of the weights, or take a GGUF file."
        )
    try:
        weights = quantization["weights"].items()
        return {name: _read_tensor(fields) for name, fields in weights}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{where} describes packed weights that cannot be read: {error}"
        ) from None


def _read_tensor(fields: Mapping[str, Any]) -> PackedTensor:
    kind = PackedKind(
        fields["bits"],
        ScaleKind[fields["scale"].upper()],
        fields["zero"],
        Code[fields["code"].upper()],
    )
    if kind not in _KNOWN:
        raise ValueError(f"no kernel knows {dict(fields)}")
    rows, columns = fields["shape"]
    check_sizes({"rows": rows, "columns": columns})
    return PackedTensor(kind, (rows, columns))
