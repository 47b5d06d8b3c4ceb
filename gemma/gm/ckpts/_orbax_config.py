"""The config of an Orbax directory, which states none: from the shapes of its arrays."""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._names import check_sizes
from gemma.gm.ckpts._names_orbax import Spelling, find_family, is_of_eyes
from gemma.gm.nn import (
    CATALOG,
    TransformerConfig,
    gemma1_config,
    gemma2_config,
    gemma3_config,
)
from gemma.gm.vision import VisionConfig

_BUILD = {"gemma": gemma1_config, "gemma2": gemma2_config, "gemma3": gemma3_config}


def config_from_shapes(
    shapes: Mapping[str, tuple[int, ...]], spelling: Spelling, where: object
) -> TransformerConfig:
    """Returns the config of the model whose arrays have these shapes.

    The norms tell the family, the shapes tell the sizes. Windows, pattern, softcaps,
    scale of the queries and rotation are those of the published model of these sizes.
    If there is none, those that `gemma1_config`, `gemma2_config` and `gemma3_config`
    take by default. The rows of the table are those of the file. Eyes, if there are
    any, make a soft token of four by four patches.

    Args:
      shapes: The shape of each array.
      spelling: How the directory lays the model out.
      where: The directory, for error messages.

    Raises:
      CheckpointError: No Gemma has such shapes.
    """
    found = _Shapes(shapes, where)
    family = find_family(shapes)
    try:
        sizes = _sizes(found, spelling)
        config = config_from_sizes(family, sizes)
        eyes = _vision(found, spelling) if any(map(is_of_eyes, shapes)) else None
        return dataclasses.replace(config, vision=eyes)
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{where} does not hold a Gemma: {error}") from None


def config_from_sizes(family: str, sizes: Mapping[str, Any]) -> TransformerConfig:
    """Returns the config of a text model of these sizes; see `config_from_shapes`.

    Raises:
      ValueError: A size is absurd, or the sizes do not go together.
    """
    check_sizes(sizes)
    config = _published(family, sizes) or _BUILD[family](**sizes)
    return dataclasses.replace(config, vocab_size=sizes["vocab_size"], vision=None)


class _Shapes:
    """Shapes by name, with errors that say which array is at fault."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], where: object):
        self.shapes, self.where = shapes, where

    def of(self, name: str, num_axes: int) -> tuple[int, ...]:
        """Returns the shape of an array that must have so many axes."""
        if name not in self.shapes:
            raise CheckpointError(f"{self.where} lacks array {name!r}.")
        if len(self.shapes[name]) != num_axes:
            raise CheckpointError(
                f"Array {name!r} in {self.where} has shape {self.shapes[name]}; "
                f"{num_axes} axes are needed."
            )
        return self.shapes[name]


def _sizes(found: _Shapes, spelling: Spelling) -> dict[str, Any]:
    begin, index = spelling.layer(0)
    num_lead = len(index)

    def part(name: str, num_axes: int) -> tuple[int, ...]:
        return found.of(begin + name, num_lead + num_axes)[num_lead:]

    num_heads, head_dim, embed_dim = part("attn/attn_vec_einsum/w", 3)
    kv = "attn/qkv_einsum/w" if spelling.qkv else "attn/kv_einsum/w"
    return {
        "num_layers": _count_layers(found, spelling),
        "embed_dim": embed_dim,
        "hidden_dim": part(f"mlp/linear{spelling.mlp_suffix}", 2)[0],
        "num_heads": num_heads,
        "num_kv_heads": part(kv, 4)[1],
        "head_dim": head_dim,
        "vocab_size": found.of(f"{spelling.root}embedder/input_embedding", 2)[0],
    }


def _count_layers(found: _Shapes, spelling: Spelling) -> int:
    if not spelling.period:
        return _count(found, f"{spelling.root}layer_")
    counts = []
    for i in range(spelling.period):
        name = f"{spelling.layer(i)[0]}attn/attn_vec_einsum/w"
        counts.append(found.of(name, 4)[0])
    num_layers, period = sum(counts), spelling.period
    if counts != [math.ceil((num_layers - i) / period) for i in range(period)]:
        raise CheckpointError(
            f"The stacked layers of {found.where} are {counts} by type; "
            f"{num_layers} layers cannot take turns like that."
        )
    return num_layers


def _count(found: _Shapes, begin: str) -> int:
    """Returns how many layers have names that begin like this; gaps are found later."""
    pattern = re.compile(re.escape(begin) + r"(\d+)/")
    indices = [int(m[1]) for name in found.shapes if (m := pattern.match(name))]
    return max(indices, default=-1) + 1


def _published(family: str, sizes: Mapping[str, int]) -> TransformerConfig | None:
    """Returns the published model of these sizes, if there is one."""
    for config in CATALOG.values():
        layer = config.layers[0]
        theirs = {
            "num_layers": config.num_layers,
            "embed_dim": config.embed_dim,
            "hidden_dim": layer.hidden_dim,
            "num_heads": layer.num_heads,
            "num_kv_heads": layer.num_kv_heads,
            "head_dim": layer.head_dim,
        }
        if config.family == family and theirs.items() <= sizes.items():
            return config
    return None


def _vision(found: _Shapes, spelling: Spelling) -> VisionConfig:
    eyes = spelling.eyes
    patch_size, _, _, embed_dim = found.of(f"{eyes}embedding/kernel", 4)
    side = math.isqrt(found.of(f"{eyes}pos_embedding", 3)[1])
    block = f"{eyes}Transformer/encoderblock_"
    query = found.of(f"{block}0/MultiHeadDotProductAttention_0/query/kernel", 3)
    dense = found.of(f"{block}0/MlpBlock_0/{spelling.dense}_0/kernel", 2)
    sizes = {
        "image_size": side * patch_size,
        "patch_size": patch_size,
        "embed_dim": embed_dim,
        "hidden_dim": dense[1],
        "num_layers": _count(found, block),
        "num_heads": query[1],
        "tokens_per_image": (side // 4) ** 2,
    }
    check_sizes(sizes)
    return VisionConfig(**sizes)
