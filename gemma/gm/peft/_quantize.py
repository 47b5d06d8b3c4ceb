"""Params in a few bits: what is packed, how, and back.

Reference: Dettmers et al. 2023, "QLoRA", for nf4; the blocks of ggml for the others.
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from gemma.gm.kernels import (
    GROUP,
    Code,
    PackedKind,
    ScaleKind,
    pack,
    pack_in_slices,
)
from gemma.gm.peft._rounding import (
    Rounded,
    round_to_int4,
    round_to_int8,
    round_to_nf4,
)
from gemma.gm.typing import DType, Params, Progress
from gemma.gm.weights import (
    QuantizedArray,
    flatten,
    num_out_axes,
    quantized_struct,
    take,
    unflatten,
)

_Weight: TypeAlias = jax.Array | np.ndarray | QuantizedArray

# How each method packs a matrix.
KINDS: Mapping[str, PackedKind] = {
    "int8": PackedKind(8, ScaleKind.HALF, 128),
    "int4": PackedKind(4, ScaleKind.SUPER, 0),
    "nf4": PackedKind(4, ScaleKind.HALF, 128, Code.NORMAL),
}
_ROUND: Mapping[PackedKind, Callable[[np.ndarray], Rounded]] = {
    KINDS["int8"]: round_to_int8,
    KINDS["int4"]: round_to_int4,
    KINDS["nf4"]: round_to_nf4,
}
# What is multiplied with activations, and large. All else stays as it is.
_TABLES = ("embedder/input_embedding", "embedder/head")
_MATRIX = re.compile(r"layer_\d+/(?:attn/[qkvo]|mlp/(?:gate|up|down))")

_take = jax.jit(take)


def quantize(
    params: Params, method: str, *, progress: Progress | None = None
) -> Params:
    """Returns the params with their matrices in a few bits.

    The matrices of the layers become `QuantizedArray`s of the method. Norms stay as they
    are. The embedding becomes int8 whatever the method: it is both table and head, so
    its errors enter every token and go straight into the logits, where no later layer
    makes up for them.

    Args:
      params: Weights of any float dtype. A weight that is already packed as the method
        packs stays bit for bit; packed otherwise, its values are packed anew.
      method: "int8" (8.5 bits a weight, errors of 0.5 % of the weights' root mean
        square), "int4" (4.6 bits, 7 %) or "nf4" (4.5 bits, 9 %).
      progress: Called with the bytes of weights made so far and in all.

    Raises:
      ValueError: There is no such method, or a weight holds NaN or infinity.

    Example:
      >>> import jax
      >>> from gemma import gm
      >>> model = gm.nn.Transformer(gm.nn.gemma3_config(
      ...     num_layers=2, embed_dim=64, hidden_dim=128, num_heads=2, num_kv_heads=1,
      ...     head_dim=32, vocab_size=50))
      >>> params = model.init(jax.random.key(0))
      >>> packed = gm.peft.quantize(params, "int4")
      >>> packed["layer_0"]["mlp"]["down"].nbytes / params["layer_0"]["mlp"]["down"].nbytes
      0.1484375
    """
    flat = flatten(params)
    structs = {
        path: quantized_weight_struct(path, weight.shape, method)
        for path, weight in flat.items()
    }
    total = sum((structs[path] or weight).nbytes for path, weight in flat.items())
    made, done = {}, 0
    for path, weight in flat.items():
        made[path] = _quantize_weight(path, weight, structs[path])
        done += made[path].nbytes
        if progress is not None:
            progress(done, total)
    return unflatten(made)


def dequantize(params: Params, dtype: DType = jnp.float32) -> Params:
    """Returns the params as plain arrays, all of one dtype."""

    def plain(weight: _Weight) -> jax.Array:
        if isinstance(weight, QuantizedArray):
            return weight.dequantize(dtype)
        return jnp.asarray(weight).astype(dtype)

    return unflatten({path: plain(weight) for path, weight in flatten(params).items()})


def quantized_weight_struct(
    path: str, shape: tuple[int, ...], method: str
) -> QuantizedArray | None:
    """Returns what a method makes of a weight, as shapes; None if it stays as it is.

    Args:
      path: Our name of it, such as "layer_0/attn/q".
      shape: Its shape.
      method: "int8", "int4" or "nf4".

    Raises:
      ValueError: There is no such method.
    """
    if method not in KINDS:
        raise ValueError(f"There is no method {method!r}; choose {', '.join(KINDS)}.")
    if path in _TABLES:
        return quantized_struct(KINDS["int8"], shape, num_out_axes(path))
    if _MATRIX.fullmatch(path):
        return quantized_struct(KINDS[method], shape, num_out_axes(path))
    return None


def pack_matrix(
    struct: QuantizedArray, read_rows: Callable[[int, int], np.ndarray], *, name: str
) -> np.ndarray:
    """Returns the bytes of one weight in a few bits; it never lies unpacked as a whole.

    Args:
      struct: What to make; see `quantized_weight_struct`.
      read_rows: Returns rows [begin, end) of the matrix, in any float dtype; called from
        several threads at once.
      name: What to call the weight in an error.

    Raises:
      ValueError: The weight holds NaN or infinity.
    """
    kind, num_columns = struct.kind, struct.num_columns

    def pack_rows(begin: int, end: int) -> np.ndarray:
        rows = read_rows(begin, end).astype(np.float32).reshape(-1, num_columns)
        if not np.isfinite(rows).all():
            raise ValueError(f"{name} holds NaN or infinity, which cannot be packed.")
        # The last column again: it widens no group.
        rows = np.pad(rows, ((0, 0), (0, -num_columns % GROUP)), mode="edge")
        return pack(kind, *_ROUND[kind](rows))

    return pack_in_slices(kind, struct.num_rows, num_columns, pack_rows)


def _quantize_weight(
    path: str, weight: _Weight, struct: QuantizedArray | None
) -> _Weight:
    if struct is None:
        return weight
    if isinstance(weight, QuantizedArray):
        if weight.kind == struct.kind:
            return weight
        packed = pack_matrix(struct, functools.partial(_rows, weight), name=path)
    else:
        matrix = np.asarray(weight).reshape(struct.num_rows, struct.num_columns)
        packed = pack_matrix(struct, lambda b, e: matrix[b:e], name=path)
    return jax.device_put(struct.filled(packed))


def _rows(weight: QuantizedArray, begin: int, end: int) -> np.ndarray:
    """Returns the values of some rows."""
    return np.asarray(_take(weight, jnp.arange(begin, end, dtype=jnp.int32)))
