"""What models return: fields by name, by number, and as a mapping."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax


@dataclasses.dataclass
class ModelOutput:
    """Fields that are None are not there: `len`, iteration and numbers leave them out.

    Example:
      >>> output = CausalLMOutputWithPast(logits=[1.0])
      >>> output.logits is output["logits"] is output[0]
      True
      >>> list(output)
      ['logits']
    """

    def __init_subclass__(cls, **options: Any):
        """Lets outputs pass through `jax.jit` and the like."""
        super().__init_subclass__(**options)
        jax.tree_util.register_pytree_node(cls, _flatten, _unflatten(cls))

    def keys(self) -> list[str]:
        """Returns the names of the fields that are there."""
        return [name for name, value in vars(self).items() if value is not None]

    def values(self) -> list[Any]:
        """Returns what is in them."""
        return [getattr(self, name) for name in self.keys()]

    def items(self) -> list[tuple[str, Any]]:
        """Returns both."""
        return [(name, getattr(self, name)) for name in self.keys()]

    def to_tuple(self) -> tuple[Any, ...]:
        """Returns the fields that are there: what `return_dict=False` returns."""
        return tuple(self.values())

    def get(self, name: str, default: Any = None) -> Any:
        """Returns a field, or the default where it is not there."""
        value = getattr(self, name, None)
        return default if value is None else value

    def __getitem__(self, key: str | int | slice) -> Any:
        if not isinstance(key, str):
            return self.to_tuple()[key]
        if key not in self:
            raise KeyError(f"{key!r} is not there; {', '.join(self.keys())} are.")
        return getattr(self, key)

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())


def _flatten(output: ModelOutput) -> tuple[list[Any], tuple[str, ...]]:
    return list(vars(output).values()), tuple(vars(output))


def _unflatten(cls: type[ModelOutput]) -> Any:
    return lambda names, values: cls(**dict(zip(names, values, strict=True)))


@dataclasses.dataclass
class BaseModelOutputWithPast(ModelOutput):
    """What a model without a head returns.

    Attributes:
      last_hidden_state: [B, L, D], after the last norm.
      past_key_values: Keys and values, to go on from.
      hidden_states: The embeddings and what each layer returns; the last one normed.
      attentions: Where each layer looked, [B, N, L, L].
    """

    last_hidden_state: Any = None
    past_key_values: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None


@dataclasses.dataclass
class Gemma3ModelOutputWithPast(BaseModelOutputWithPast):
    """What a model without a head returns that sees.

    Attributes:
      image_hidden_states: What stood for each image, [I, T, D].
    """

    image_hidden_states: Any = None


@dataclasses.dataclass
class HeadOutputWithPast(ModelOutput):
    """What a model with a head returns.

    Attributes:
      loss: With labels: the mean loss.
      logits: What the head says; see the classes of this one.
      past_key_values: See `BaseModelOutputWithPast`.
      hidden_states: See `BaseModelOutputWithPast`.
      attentions: See `BaseModelOutputWithPast`.
    """

    loss: Any = None
    logits: Any = None
    past_key_values: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None


class CausalLMOutputWithPast(HeadOutputWithPast):
    """What a language model returns: logits [B, L, V], or of the places that are kept."""


@dataclasses.dataclass
class Gemma3CausalLMOutputWithPast(CausalLMOutputWithPast):
    """What a language model returns that sees.

    Attributes:
      image_hidden_states: What stood for each image, [I, T, D].
    """

    image_hidden_states: Any = None


class SequenceClassifierOutputWithPast(HeadOutputWithPast):
    """What a classifier of texts returns: logits [B, C]."""


@dataclasses.dataclass
class TokenClassifierOutput(ModelOutput):
    """What a classifier of tokens returns.

    Attributes:
      loss: With labels.
      logits: [B, L, C].
      hidden_states: See `BaseModelOutputWithPast`.
      attentions: See `BaseModelOutputWithPast`.
    """

    loss: Any = None
    logits: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None


@dataclasses.dataclass
class GenerateOutput(ModelOutput):
    """What `generate` returns with `return_dict_in_generate`, and the Flax models.

    Attributes:
      sequences: Prompts and answers, filled up with padding.
      sequences_scores: Of a beam search with `output_scores`, the score of each row.
      scores: With `output_scores`, what the tokens of each step were chosen by, [B, V].
      logits: With `output_logits`, the logits of each step, [B, V].
      past_key_values: The cache that was passed in, or was needed for these.
    """

    sequences: Any = None
    sequences_scores: Any = None
    scores: tuple[Any, ...] | None = None
    logits: tuple[Any, ...] | None = None
    past_key_values: Any = None
