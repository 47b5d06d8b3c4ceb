"""Arrays of ids, and of images, become the prompts of a sampler.

Axes: B batch, L length, I images, S rows and columns of an image.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from gemma.gm.nn import TransformerConfig
from gemma.gm.vision import VisionConfig
from gemma.hf._arrays import to_ids, to_jax
from gemma.hf._eyes import (
    check_places,
    check_types,
    read_pixels,
    require_eyes,
    to_levels,
)


class Prompt(NamedTuple):
    """What one row says.

    Attributes:
      token_ids: Its tokens, without padding.
      images: Its images, [S, S, 3] each.
    """

    token_ids: list[int]
    images: Sequence[np.ndarray] = ()


class PromptArrays(NamedTuple):
    """What a tokenizer or a processor returns, by its names."""

    input_ids: Any
    attention_mask: Any = None
    pixel_values: Any = None
    token_type_ids: Any = None

    def over(self, returned: Mapping[str, Any]) -> Self:
        """Returns what a mapping has of these, and the rest as it is here."""
        return self._replace(**{n: returned[n] for n in self._fields if n in returned})

    def read(
        self, config: TransformerConfig, pad_token_id: int | None = None
    ) -> list[Prompt]:
        """Returns the prompt of each row.

        Args:
          config: The model.
          pad_token_id: The token that is padding if there is no mask.

        Raises:
          TypeError: The ids are no whole numbers.
          ValueError: They do not fit one another or the model.
        """
        ids, mask = np.asarray(to_ids(self.input_ids)), self.attention_mask
        if mask is None and pad_token_id is not None:
            mask = ids != pad_token_id
        rows = _rows(ids, mask)
        check_types(self.token_type_ids, self.input_ids, config.vision)
        if self.pixel_values is not None:
            eyes = require_eyes(config)
            return _with_images(rows, self.pixel_values, eyes)
        if config.vision is not None:
            check_places(list(itertools.chain(*rows)), config.vision, 0)
        return [Prompt(row.tolist()) for row in rows]


def _rows(ids: np.ndarray, attention_mask: Any) -> list[np.ndarray]:
    """Returns the tokens of each row, without padding."""
    if ids.ndim != 2:
        raise ValueError(
            f"The prompts have shape {ids.shape}; they need an axis for the batch and "
            "one for the tokens."
        )
    if attention_mask is None:
        return list(ids)
    mask = np.asarray(to_jax(attention_mask)).astype(bool)
    if mask.shape != ids.shape:
        raise ValueError(
            f"attention_mask has shape {mask.shape}, and the prompts {ids.shape}."
        )
    return [row[seen] for row, seen in zip(ids, mask, strict=True)]


def _with_images(
    rows: Sequence[np.ndarray], pixel_values: Any, config: VisionConfig
) -> list[Prompt]:
    """Gives each row as many images as it has soft tokens for."""
    pixels = read_pixels(pixel_values, config)
    check_places(list(itertools.chain(*rows)), config, len(pixels))
    images = iter(to_levels(pixels))
    return [
        Prompt(row.tolist(), [next(images) for _ in range(_num_images(row, config))])
        for row in rows
    ]


def _num_images(row: np.ndarray, config: VisionConfig) -> int:
    """Returns how many images' soft tokens a row has."""
    is_soft = row == config.soft_token
    edges = np.flatnonzero(np.diff(is_soft, prepend=False, append=False))
    for length in edges[1::2] - edges[::2]:
        if length != config.tokens_per_image:
            raise ValueError(
                f"{length} soft tokens ({config.soft_token}) stand side by side; an "
                f"image has {config.tokens_per_image}, and others between it and the "
                "next."
            )
    return len(edges) // 2
