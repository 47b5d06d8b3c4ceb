"""What a caller hands to `generate` for the host.

Axes: B batch, L length.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gemma.gm.nn import TransformerConfig
from gemma.hf._arrays import to_jax
from gemma.hf._dynamic_cache import DynamicCache
from gemma.hf._model import PreTrainedModel
from gemma.hf._prompts import PromptArrays


class Callbacks(NamedTuple):
    """What a caller hands over that only the host can call, or hold.

    Attributes:
      logits_processor: Functions of ids and scores that return scores.
      stopping_criteria: Functions of ids and scores that return whether rows end.
      prefix_allowed_tokens_fn: A function of a prompt's number and ids, which returns
        the tokens that may follow.
      past_key_values: A cache to go on from.
      inputs_embeds: Vectors of the prompts.
      assistant_model: A smaller model of the same tokenizer.
    """

    logits_processor: Sequence[Callable[..., Any]] | None = None
    stopping_criteria: Sequence[Callable[..., Any]] | None = None
    prefix_allowed_tokens_fn: Callable[..., Any] | None = None
    past_key_values: DynamicCache | None = None
    inputs_embeds: Any = None
    assistant_model: PreTrainedModel | None = None

    @property
    def are_none(self) -> bool:
        """Whether a compiled program can do without."""
        lists = self.logits_processor, self.stopping_criteria
        return not any(map(as_list, lists)) and all(one is None for one in self[2:])


class HostInputs(NamedTuple):
    """What goes in, as arrays on the host.

    Attributes:
      ids: Ids of the prompts as they came, [B, L]; L is 0 where there are vectors only.
      mask: False for padding, [B, L], or of the vectors.
      pixel_values: Images, if there are any.
    """

    ids: np.ndarray
    mask: np.ndarray
    pixel_values: Any


def read_host_inputs(
    given: PromptArrays,
    callbacks: Callbacks,
    config: TransformerConfig,
    padding_id: int | None,
) -> HostInputs:
    """Returns prompts as arrays on the host.

    Raises:
      TypeError: The ids are no whole numbers, or the cache is of another kind.
      ValueError: They do not fit one another or the model.
    """
    past = callbacks.past_key_values
    if past is not None and not isinstance(past, DynamicCache):
        raise TypeError(
            f"past_key_values is a {type(past).__name__}; generate takes a DynamicCache, "
            "which grows."
        )
    vectors = to_jax(callbacks.inputs_embeds)
    if vectors is not None and vectors.ndim != 3:
        raise ValueError(
            f"inputs_embeds has shape {vectors.shape}; axes for the batch, the tokens and "
            "the width are needed."
        )
    if given.input_ids is None:
        if vectors is None:
            raise ValueError("There is no prompt: pass input_ids or inputs_embeds.")
        ids = np.zeros((len(vectors), 0), np.int64)
        return HostInputs(ids, _mask(given.attention_mask, vectors.shape[:2]), None)
    if past is None or not past.get_seq_length():
        given.read(config, padding_id)  # which checks them
    ids = np.asarray(to_jax(given.input_ids)).astype(np.int64)
    if vectors is not None and vectors.shape[:2] != ids.shape:
        raise ValueError(
            f"input_ids have shape {ids.shape}, and inputs_embeds {vectors.shape}."
        )
    mask = given.attention_mask
    if mask is None and padding_id is not None:
        mask = ids != padding_id
    return HostInputs(ids, _mask(mask, ids.shape), given.pixel_values)


def _mask(stated: Any, shape: tuple[int, ...]) -> np.ndarray:
    if stated is None:
        return np.ones(shape, bool)
    mask = np.asarray(to_jax(stated)).astype(bool)
    if mask.shape != shape:
        raise ValueError(
            f"attention_mask has shape {mask.shape}, and the prompts {shape}."
        )
    return mask


def num_columns(given: HostInputs, callbacks: Callbacks) -> int:
    """Returns the length of the prompts, vectors counted where ids are missing."""
    if callbacks.inputs_embeds is None or given.ids.shape[1]:
        return given.ids.shape[1]
    return callbacks.inputs_embeds.shape[1]


def moved_right(ids: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows with all padding before their tokens."""
    moved, is_real = np.zeros_like(ids), np.zeros_like(mask)
    for row, (tokens, kept) in enumerate(zip(ids, mask, strict=True)):
        number = int(kept.sum())
        moved[row, ids.shape[1] - number :] = tokens[kept]
        is_real[row, ids.shape[1] - number :] = True
    return moved, is_real


def as_list(functions: Any) -> list[Callable[..., Any]]:
    if functions is None:
        return []
    return [functions] if not isinstance(functions, Sequence) else list(functions)
