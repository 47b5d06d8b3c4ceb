"""DeepMind's names: where our weights lie among the arrays of an Orbax directory.

Several of ours share an array there: keys and values, gate and up, in some files all
layers of a kind. A layer has a folder of its own ("layer_3/..."), or is a slice of
"stacked_layers/attention_type_3/...". All stands under "transformer/" in files of
2024, at the root in later ones, under "params/" in the state of a training.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.nn import TransformerConfig
from gemma.gm.vision import VisionConfig

_ROOTS = ("", "transformer/", "params/", "params/transformer/")
# A model beside a copy of it as it was, to train with preferences.
_POLICIES = ("policy/", "params/policy/")
_TABLE = "embedder/input_embedding"
_STACKED = "stacked_layers/attention_type_"
_EYES = ("vision_encoder/siglip_encoder/", "SigLiPFromPatches_0/siglip_encoder/")
_PROJECTOR = ("embedder/mm_input_projection/", "embedder/mm_soft_embedding_norm/")

# Ours: theirs, and which of their axes each of ours is.
_EYES_LAYER = {
    "attn_norm/scale": ("LayerNorm_0/scale", (0,)),
    "attn_norm/bias": ("LayerNorm_0/bias", (0,)),
    "attn/q": ("MultiHeadDotProductAttention_0/query/kernel", (1, 2, 0)),
    "attn/q_bias": ("MultiHeadDotProductAttention_0/query/bias", (0, 1)),
    "attn/k": ("MultiHeadDotProductAttention_0/key/kernel", (1, 2, 0)),
    "attn/k_bias": ("MultiHeadDotProductAttention_0/key/bias", (0, 1)),
    "attn/v": ("MultiHeadDotProductAttention_0/value/kernel", (1, 2, 0)),
    "attn/v_bias": ("MultiHeadDotProductAttention_0/value/bias", (0, 1)),
    "attn/o": ("MultiHeadDotProductAttention_0/out/kernel", (2, 0, 1)),
    "attn/o_bias": ("MultiHeadDotProductAttention_0/out/bias", (0,)),
    "mlp_norm/scale": ("LayerNorm_1/scale", (0,)),
    "mlp_norm/bias": ("LayerNorm_1/bias", (0,)),
    "mlp/up": ("MlpBlock_0/{dense}_0/kernel", (1, 0)),
    "mlp/up_bias": ("MlpBlock_0/{dense}_0/bias", (0,)),
    "mlp/down": ("MlpBlock_0/{dense}_1/kernel", (1, 0)),
    "mlp/down_bias": ("MlpBlock_0/{dense}_1/bias", (0,)),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where one weight of ours lies.

    Attributes:
      array: The array that has it.
      index: Which part of that, along its first axes; empty if all.
      axes: Our axes, as axes of that part.
    """

    array: str
    axes: tuple[int, ...]
    index: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """What to call it in a table of tensors and in errors."""
        return self.array + (str(list(self.index)) if self.index else "")

    @property
    def part_axes(self) -> tuple[int, ...]:
        """The axes of that part, as axes of ours."""
        return tuple(self.axes.index(i) for i in range(len(self.axes)))

    def part(self, array: Any) -> Any:
        """Returns our weight, of their array; a view, if that is one of numpy's."""
        return array[self.index].transpose(self.axes)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Spelling:
    """How a directory lays out and calls what all have.

    Attributes:
      root: What stands before all names of the text model.
      period: After how many layers the stacked arrays begin anew; 0 if each layer has
        arrays of its own.
      qkv: Whether queries, keys and values are one array.
      gate_first: Whether gate and up are stored [F, D], outputs first, like ours.
      mlp_suffix: What follows the names of the feed-forward arrays.
      eyes: What stands before all names of the vision tower.
      dense: What its feed-forward layers are called.
    """

    root: str = ""
    period: int = 0
    qkv: bool = False
    gate_first: bool = True
    mlp_suffix: str = ""
    eyes: str = _EYES[0]
    dense: str = "Dense"

    def layer(self, i: int) -> tuple[str, tuple[int, ...]]:
        """Returns what the names of a layer begin with, and its slice if it is one."""
        if not self.period:
            return f"{self.root}layer_{i}/", ()
        return f"{self.root}{_STACKED}{i % self.period}/", (i // self.period,)


def default_spelling(
    config: TransformerConfig, *, gating: tuple[int, ...] = ()
) -> Spelling:
    """Returns how DeepMind's library of today lays a model out.

    Args:
      config: The model.
      gating: The shape of the gate and up of a layer, if it may be another.
    """
    layer = config.layers[0]
    return Spelling(
        qkv=layer.num_heads == layer.num_kv_heads,
        gate_first=_is_gate_first(gating, config.family, config.embed_dim),
    )


def _is_gate_first(gating: tuple[int, ...], family: str, embed_dim: int) -> bool:
    """Tells [F, D] from [D, F]; by the family if both are the same size."""
    if len(gating) > 1 and gating[-1] != gating[-2]:
        return gating[-1] == embed_dim
    # Gemma 1 and Gemma 2 2B were trained with the other.
    return family != "gemma" and not (family == "gemma2" and embed_dim == 2304)


def find_spelling(shapes: Mapping[str, tuple[int, ...]], where: object) -> Spelling:
    """Returns how a directory lays its model out.

    Args:
      shapes: The shape of each array.
      where: The directory, for error messages.

    Raises:
      CheckpointError: There is no Gemma in it.
    """
    root = find_root(shapes, where)
    stack = re.compile(re.escape(root + _STACKED) + r"(\d+)/")
    stacks = [int(match[1]) for name in shapes if (match := stack.match(name))]
    found = Spelling(root=root, period=max(stacks, default=-1) + 1)
    first, _ = found.layer(0)
    eyes = next((name for name in shapes if is_of_eyes(name) and "/siglip" in name), "")
    begin = eyes.partition("siglip_encoder/")[0]
    suffix = "/w" if f"{first}mlp/linear/w" in shapes else ""
    return dataclasses.replace(
        found,
        qkv=f"{first}attn/qkv_einsum/w" in shapes,
        gate_first=_is_gate_first(
            shapes.get(f"{first}mlp/gating_einsum{suffix}", ()),
            find_family(shapes),
            shapes[root + _TABLE][-1],
        ),
        mlp_suffix=suffix,
        eyes=f"{begin}siglip_encoder/" if eyes else root + _EYES[0],
        dense="DenseGeneral"
        if any("/DenseGeneral_0/" in n for n in shapes)
        else "Dense",
    )


def find_root(names: Iterable[str], where: object) -> str:
    """Returns what stands before all names of the text model."""
    names = list(names)
    for root in (*_ROOTS, *_POLICIES):
        if root + _TABLE in names:
            return root
    if any(name.endswith(("/lora/a", "/lora/b")) for name in names):
        raise CheckpointError(
            f"{where} holds LoRA factors alone. Save them with the weights that they "
            "change: the whole params, as peft.merge_params returns them."
        )
    shown = ", ".join(names[:3])
    raise CheckpointError(
        f"{where} holds no Gemma: array {_TABLE!r} is missing among {shown} and "
        f"{max(0, len(names) - 3)} more."
    )


def names_of_weights(names: Iterable[str], where: object) -> list[str]:
    """Returns the names of a model's weights, among those of a training.

    Of two models, `policy` and `anchor`, they are those of the first.
    """
    names = list(names)
    begin = find_root(names, where).removesuffix("transformer/")
    return [name for name in names if name.startswith(begin)]


def find_family(names: Iterable[str]) -> str:
    """Returns the family that has just these norms."""
    ends = {name.rsplit("/", 2)[-2] for name in names if name.count("/") > 1}
    if "_query_norm" in ends:
        return "gemma3"
    return "gemma2" if "post_attention_norm" in ends else "gemma"


def is_of_eyes(name: str) -> bool:
    """Whether an array belongs to the vision tower or to its projector."""
    return any(part in name for part in (*_EYES, *_PROJECTOR))


def places_orbax(config: TransformerConfig, spelling: Spelling) -> dict[str, Place]:
    """Returns `{our path: place}`.

    Raises:
      ValueError: The model has what their checkpoints have no place for.
    """
    if config.has_head:
        raise ValueError(
            "The model has a head of its own (untied), which DeepMind's checkpoints have "
            "no place for. Write a Hugging Face folder or a GGUF file."
        )
    root = spelling.root
    places = {
        "embedder/input_embedding": Place(root + _TABLE, (0, 1)),
        "final_norm": Place(f"{root}final_norm/scale", (0,)),
    }
    for i in range(config.num_layers):
        begin, index = spelling.layer(i)
        for ours, place in _layer_places(config, spelling).items():
            places[f"layer_{i}/{ours}"] = dataclasses.replace(
                place, array=begin + place.array, index=index + place.index
            )
    if config.vision is not None:
        eyes = _eyes_places(config.vision, spelling)
        places |= {f"vision/{ours}": place for ours, place in eyes.items()}
    return places


def _layer_places(config: TransformerConfig, spelling: Spelling) -> dict[str, Place]:
    norms = ["pre_attention_norm", "pre_ffw_norm"]
    if config.layers[0].post_norms:
        norms += ["post_attention_norm", "post_ffw_norm"]
    gating = f"mlp/gating_einsum{spelling.mlp_suffix}"
    gate_axes = (0, 1) if spelling.gate_first else (1, 0)
    places = {
        **_head_places(spelling.qkv),
        "attn/o": Place("attn/attn_vec_einsum/w", (2, 0, 1)),
        "mlp/gate": Place(gating, gate_axes, (0,)),
        "mlp/up": Place(gating, gate_axes, (1,)),
        "mlp/down": Place(f"mlp/linear{spelling.mlp_suffix}", (1, 0)),
        **{norm: Place(f"{norm}/scale", (0,)) for norm in norms},
    }
    if config.layers[0].qk_norm:
        places["attn/query_norm"] = Place("attn/_query_norm/scale", (0,))
        places["attn/key_norm"] = Place("attn/_key_norm/scale", (0,))
    return places


def _head_places(qkv: bool) -> dict[str, Place]:
    axes = (0, 2, 1)
    if qkv:
        one = "attn/qkv_einsum/w"
        return {f"attn/{x}": Place(one, axes, (i,)) for i, x in enumerate("qkv")}
    return {
        "attn/q": Place("attn/q_einsum/w", axes),
        "attn/k": Place("attn/kv_einsum/w", axes, (0,)),
        "attn/v": Place("attn/kv_einsum/w", axes, (1,)),
    }


def _eyes_places(config: VisionConfig, spelling: Spelling) -> dict[str, Place]:
    eyes, (projection, norm) = spelling.eyes, _PROJECTOR
    places = {
        "patch_embedding/kernel": Place(f"{eyes}embedding/kernel", (3, 2, 0, 1)),
        "patch_embedding/bias": Place(f"{eyes}embedding/bias", (0,)),
        "position_embedding": Place(f"{eyes}pos_embedding", (0, 1), (0,)),
        "final_norm/scale": Place(f"{eyes}Transformer/encoder_norm/scale", (0,)),
        "final_norm/bias": Place(f"{eyes}Transformer/encoder_norm/bias", (0,)),
        "projector/norm": Place(f"{spelling.root}{norm}scale", (0,)),
        "projector/weight": Place(f"{spelling.root}{projection}w", (1, 0)),
    }
    for i in range(config.num_layers):
        begin = f"{eyes}Transformer/encoderblock_{i}/"
        for ours, (theirs, axes) in _EYES_LAYER.items():
            array = begin + theirs.format(dense=spelling.dense)
            places[f"layer_{i}/{ours}"] = Place(array, axes)
    return places


def array_shapes(
    places: Mapping[str, Place], ours: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Returns the shape that each of their arrays has.

    Args:
      places: Where our weights lie.
      ours: The shapes of those.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path, place in places.items():
        counts = tuple(i + 1 for i in place.index)
        before = shapes.get(place.array, ())[: len(counts)] or counts
        lead = tuple(map(max, before, counts))
        part = tuple(ours[path][axis] for axis in place.part_axes)
        shapes[place.array] = lead + part
    assert sum(map(math.prod, shapes.values())) == sum(map(math.prod, ours.values()))
    return shapes


def by_array(places: Mapping[str, Place]) -> dict[str, dict[str, Place]]:
    """Returns `{their array: {our path: place}}`."""
    parts: dict[str, dict[str, Place]] = {}
    for ours, place in places.items():
        parts.setdefault(place.array, {})[ours] = place
    return parts


def join(
    parts: Mapping[str, Place],
    shape: tuple[int, ...],
    dtype: np.dtype,
    read: Callable[[str], np.ndarray],
) -> np.ndarray:
    """Returns one of their arrays, made of our weights.

    Args:
      parts: What lies in it; see `by_array`.
      shape: Its shape.
      dtype: Its dtype.
      read: Returns one weight by our name, in our layout.
    """
    whole = np.empty(shape, dtype)
    for ours, place in parts.items():
        place.part(whole)[...] = read(ours)
    return whole
