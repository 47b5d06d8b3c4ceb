"""The published models: a table.

Sizes are those of the released checkpoints. `Gemma3_4B` and larger read images. The config
of each stands beside the function that makes it: `gm.nn.Gemma3_4B.config`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from gemma.gm.nn._config import (
    RopeConfig,
    TransformerConfig,
    gemma1_config,
    gemma2_config,
    gemma3_config,
)
from gemma.gm.nn._transformer import Transformer
from gemma.gm.vision import VisionConfig

# Gemma 3 of 4B and more stretches the positions of its global layers by 8, and its
# table has 64 rows more than the vocabulary, to make room for the image token.
_GEMMA3_LARGE = {
    "window": 1024,
    "vocab_size": 262_208,
    "global_rope": RopeConfig(theta=1_000_000.0, factor=8.0),
    "max_positions": 131_072,
    "vision": VisionConfig(),
}

CATALOG: dict[str, TransformerConfig] = {
    "Gemma1_2B": gemma1_config(
        num_layers=18, embed_dim=2048, hidden_dim=16384, num_heads=8, num_kv_heads=1
    ),
    "Gemma1_7B": gemma1_config(
        num_layers=28, embed_dim=3072, hidden_dim=24576, num_heads=16, num_kv_heads=16
    ),
    "Gemma2_2B": gemma2_config(
        num_layers=26, embed_dim=2304, hidden_dim=9216, num_heads=8, num_kv_heads=4
    ),
    "Gemma2_9B": gemma2_config(
        num_layers=42, embed_dim=3584, hidden_dim=14336, num_heads=16, num_kv_heads=8
    ),
    "Gemma2_27B": gemma2_config(
        num_layers=46,
        embed_dim=4608,
        hidden_dim=36864,
        num_heads=32,
        num_kv_heads=16,
        head_dim=128,
        query_pre_attn_scalar=144.0,  # D / N, not H
    ),
    "Gemma3_270M": gemma3_config(
        num_layers=18, embed_dim=640, hidden_dim=2048, num_heads=4, num_kv_heads=1
    ),
    "Gemma3_1B": gemma3_config(
        num_layers=26, embed_dim=1152, hidden_dim=6912, num_heads=4, num_kv_heads=1
    ),
    "Gemma3_4B": gemma3_config(
        num_layers=34,
        embed_dim=2560,
        hidden_dim=10240,
        num_heads=8,
        num_kv_heads=4,
        **_GEMMA3_LARGE,
    ),
    "Gemma3_12B": gemma3_config(
        num_layers=48,
        embed_dim=3840,
        hidden_dim=15360,
        num_heads=16,
        num_kv_heads=8,
        **_GEMMA3_LARGE,
    ),
    "Gemma3_27B": gemma3_config(
        num_layers=62,
        embed_dim=5376,
        hidden_dim=21504,
        num_heads=32,
        num_kv_heads=16,
        head_dim=128,
        query_pre_attn_scalar=168.0,  # D / N, not H
        **_GEMMA3_LARGE,
    ),
}


class PublishedModel(Protocol):
    """A function that makes a published model."""

    config: TransformerConfig

    def __call__(self) -> Transformer:
        """Returns the model."""
        ...


class SeeingModel(Protocol):
    """A function that makes a published model with a vision encoder."""

    config: TransformerConfig

    def __call__(self, *, text_only: bool = False) -> Transformer:
        """Returns the model; without the encoder if `text_only`."""
        ...


_T = TypeVar("_T")


def _known_as(kind: type[_T]) -> Callable[[Callable[..., Transformer]], _T]:
    """Gives a function its model's config, by the name of both."""

    def add(make: Any) -> _T:
        make.config = CATALOG[make.__name__]
        return cast(_T, make)

    return add


@_known_as(PublishedModel)
def Gemma1_2B() -> Transformer:  # noqa: N802
    """Gemma, Gemma 1.1 and CodeGemma of 2B."""
    return Transformer(CATALOG["Gemma1_2B"])


@_known_as(PublishedModel)
def Gemma1_7B() -> Transformer:  # noqa: N802
    """Gemma, Gemma 1.1 and CodeGemma of 7B."""
    return Transformer(CATALOG["Gemma1_7B"])


@_known_as(PublishedModel)
def Gemma2_2B() -> Transformer:  # noqa: N802
    """Gemma 2 and ShieldGemma of 2B."""
    return Transformer(CATALOG["Gemma2_2B"])


@_known_as(PublishedModel)
def Gemma2_9B() -> Transformer:  # noqa: N802
    """Gemma 2 and ShieldGemma of 9B."""
    return Transformer(CATALOG["Gemma2_9B"])


@_known_as(PublishedModel)
def Gemma2_27B() -> Transformer:  # noqa: N802
    """Gemma 2 and ShieldGemma of 27B."""
    return Transformer(CATALOG["Gemma2_27B"])


@_known_as(PublishedModel)
def Gemma3_270M() -> Transformer:  # noqa: N802
    """Gemma 3 of 270M."""
    return Transformer(CATALOG["Gemma3_270M"])


@_known_as(PublishedModel)
def Gemma3_1B() -> Transformer:  # noqa: N802
    """Gemma 3 of 1B."""
    return Transformer(CATALOG["Gemma3_1B"])


@_known_as(SeeingModel)
def Gemma3_4B(*, text_only: bool = False) -> Transformer:  # noqa: N802
    """Gemma 3 of 4B, with eyes unless `text_only`."""
    return _with_eyes("Gemma3_4B", text_only)


@_known_as(SeeingModel)
def Gemma3_12B(*, text_only: bool = False) -> Transformer:  # noqa: N802
    """Gemma 3 of 12B, with eyes unless `text_only`."""
    return _with_eyes("Gemma3_12B", text_only)


@_known_as(SeeingModel)
def Gemma3_27B(*, text_only: bool = False) -> Transformer:  # noqa: N802
    """Gemma 3 of 27B, with eyes unless `text_only`."""
    return _with_eyes("Gemma3_27B", text_only)


def _with_eyes(name: str, text_only: bool) -> Transformer:
    config = CATALOG[name]
    return Transformer(
        dataclasses.replace(config, vision=None) if text_only else config
    )
