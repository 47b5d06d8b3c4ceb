"""The params tree of DeepMind's library in memory, and ours.

That is the tree of `layer_0/attn/q_einsum/w` and so on, nested, without what stands
before it in files. Nothing is computed but transposes and stacks, and what LoRA factors and
quantized kernels stand for, so gradients and dtypes pass through.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._load import Checkpoint
from gemma.gm.ckpts._names_orbax import (
    Place,
    array_shapes,
    by_array,
    default_spelling,
    find_spelling,
    join,
    places_orbax,
)
from gemma.gm.ckpts._orbax import shapes_of
from gemma.gm.ckpts._orbax_config import config_from_shapes
from gemma.gm.ckpts._orbax_leaves import FlatTree, PlainArrays
from gemma.gm.nn import TransformerConfig
from gemma.gm.typing import Params
from gemma.gm.weights import flatten, unflatten

_WHERE = "The tree"


def infer_config(tree: Params) -> TransformerConfig:
    """Returns the config of the model whose tree this is.

    The norms tell the family, the shapes tell the sizes; what they do not say is taken
    from the published model of the same sizes, or from the defaults of the family.

    Args:
      tree: DeepMind's params: arrays, or anything that has their shapes.

    Raises:
      CheckpointError: It is the tree of no Gemma.
    """
    arrays = _arrays_of_tree(tree)
    shapes = {name: arrays.shape(name) for name in arrays.names}
    return config_from_shapes(shapes, find_spelling(shapes, _WHERE), _WHERE)


def from_deepmind(tree: Params, config: TransformerConfig) -> dict[str, Any]:
    """Returns our params of DeepMind's tree.

    Args:
      tree: DeepMind's params. Gate and up may lie either way. LoRA factors are added to
        their weights, quantized kernels become numbers.
      config: The model, whose weights these must be, but for the rows of the embedding.

    Raises:
      CheckpointError: They are not; see `check_deepmind`.
    """
    check_deepmind(tree, config, any_rows=True)
    plain, places = _arrays_of_tree(tree), _layout(config, _gating(tree)).places
    arrays = {name: plain.read(name) for name in by_array(places)}
    for name, array in arrays.items():
        if not plain.is_stored(name):
            arrays[name] = array.astype(plain.dtype(name))
    return unflatten({ours: p.part(arrays[p.array]) for ours, p in places.items()})


def to_deepmind(params: Params, config: TransformerConfig) -> dict[str, Any]:
    """Returns DeepMind's tree of our params: the inverse of `from_deepmind`."""
    ours, arrays = flatten(params), by_array(_layout(config).places)
    return unflatten({name: _stack(parts, ours) for name, parts in arrays.items()})


def read_deepmind(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns DeepMind's tree of a checkpoint, in memory of the host.

    Arrays keep the dtype that they have in the file, float32 if they are packed: text of
    16 bits may stand beside eyes of 32. One that is made of several tensors takes the
    dtype that holds them all.

    Args:
      checkpoint: Any checkpoint, of whatever format.

    Raises:
      CheckpointError: It is not whole.
    """
    checkpoint.check()
    places, shapes = _layout(checkpoint.config)

    def read(name: str, parts: Mapping[str, Place]) -> np.ndarray:
        stored = (checkpoint.tensors.dtype_of(checkpoint.names[x].name) for x in parts)
        dtype = np.result_type(*stored)
        return join(
            parts, shapes[name], dtype, lambda x: checkpoint.read_weight(x, dtype)
        )

    arrays = by_array(places).items()
    return unflatten({name: read(name, parts) for name, parts in arrays})


def check_deepmind(
    tree: Params, config: TransformerConfig, *, any_rows: bool = False
) -> None:
    """Refuses a tree that is not exactly that of a model.

    Args:
      tree: DeepMind's params.
      config: The model.
      any_rows: Whether the embedding may have more or fewer rows.

    Raises:
      CheckpointError: A weight is missing, unknown or of another shape. Names it.
    """
    arrays = _arrays_of_tree(tree)
    if set(tree) in ({"transformer"}, {"params"}, {"policy", "anchor"}):
        root = "policy" if "policy" in tree else next(iter(tree))
        entries = " and ".join(map(repr, tree))
        raise CheckpointError(
            f"These params have {'one entry' if len(tree) == 1 else 'entries'}, "
            f"{entries}. Pass what is in it: params[{root!r}]."
        )
    found = {name: arrays.shape(name) for name in arrays.names}
    if any_rows and (table := found.get("embedder/input_embedding")):
        config = dataclasses.replace(config, vocab_size=table[0])
    expected = _layout(config, _gating(tree)).shapes
    model = f"a {config.family} of {config.num_layers} layers"
    if missing := [name for name in expected if name not in found]:
        raise CheckpointError(f"The params lack {missing[0]!r}, which {model} has.")
    for name, shape in found.items():
        if name not in expected:
            raise CheckpointError(
                f"The params have {name!r}, which is no weight of {model}."
            )
        if shape != expected[name]:
            raise CheckpointError(
                f"{name!r} has shape {shape}; the config asks for {expected[name]}."
            )


class _Layout(NamedTuple):
    """How the tree of a model is laid out.

    Attributes:
      places: Where each of our weights lies.
      shapes: The shape of each array.
    """

    places: Mapping[str, Place]
    shapes: Mapping[str, tuple[int, ...]]


@functools.lru_cache(maxsize=16)
def _layout(config: TransformerConfig, gating: tuple[int, ...] = ()) -> _Layout:
    """Returns the layout of a model, given the shape of gate and up if it may vary."""
    places = places_orbax(config, default_spelling(config, gating=gating))
    return _Layout(places, array_shapes(places, shapes_of(config)))


def _gating(tree: Params) -> tuple[int, ...]:
    arrays, name = _arrays_of_tree(tree), "layer_0/mlp/gating_einsum"
    return arrays.shape(name) if name in arrays.names else ()


def _arrays_of_tree(tree: Params) -> PlainArrays:
    if not isinstance(tree, Mapping):
        raise CheckpointError(
            f"{_WHERE} is a {type(tree).__name__}; a nested dict of arrays is needed."
        )
    flat = flatten(tree)
    return PlainArrays(FlatTree(flat), flat, _WHERE)


def _stack(parts: Mapping[str, Place], ours: Mapping[str, jax.Array]) -> jax.Array:
    """Returns one of their arrays, made of our weights."""
    whole = [ours[path].transpose(place.part_axes) for path, place in parts.items()]
    (first, *_) = parts.values()
    return jnp.stack(whole) if first.index else whole[0]
