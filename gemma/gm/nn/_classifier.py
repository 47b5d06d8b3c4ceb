"""Heads that say what a text is, in place of the one that says how it goes on.

Axes: B batch, L length, D model width, C labels.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gemma.gm.nn._transformer import Transformer
from gemma.gm.typing import DType, Params
from gemma.gm.weights import ParamSpec, einsum, init_params


class Classified(NamedTuple):
    """What a classifier returns.

    Attributes:
      logits: Scores of the labels, float32.
      hidden_states: As in `Output`.
      attention_weights: As in `Output`.
    """

    logits: Float[Array, "..."]
    hidden_states: tuple[Float[Array, "B L D"], ...] | None = None
    attention_weights: tuple[Float[Array, "B N L S"], ...] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Classifier:
    """A decoder with a linear map from its vectors to scores of labels.

    Its params are those of the decoder, and `score` beside them.

    Attributes:
      model: The decoder.
      num_labels: C.
    """

    model: Transformer
    num_labels: int

    def specs(self) -> dict[str, object]:
        """Returns the tree of `ParamSpec` that the params must fit."""
        return {**self.model.specs(), "score": self.score_specs()}

    def score_specs(self) -> dict[str, ParamSpec]:
        """Returns the `ParamSpec` of each weight of the map."""
        shape = self.num_labels, self.model.config.embed_dim
        return {"weight": ParamSpec(shape, axes=("label", "embed"))}

    def init(self, key: jax.Array, dtype: DType = jnp.float32) -> Params:
        """Returns random params."""
        return init_params(self.specs(), key, dtype)

    def score(self, variables: Params, x: Float[Array, "*B D"]) -> Float[Array, "*B C"]:
        """Returns the scores of vectors that `Transformer.features` made, in float32.

        Args:
          variables: `{"params": params}`.
          x: The vectors.
        """
        score = variables["params"]["score"]
        rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
        logits = einsum("RD,CD->RC", rows, score["weight"], out_dtype=jnp.float32)
        if "bias" in score:
            logits = logits + score["bias"][None, :]
        return logits.reshape(*x.shape[:-1], -1)


class TokenClassifier(Classifier):
    """A decoder that gives each token a label; its map has a bias."""

    __slots__ = ()

    def score_specs(self) -> dict[str, ParamSpec]:
        """Returns the `ParamSpec` of each weight of the map."""
        bias = ParamSpec((self.num_labels,), axes=("label",), init="zeros")
        return {**Classifier.score_specs(self), "bias": bias}

    def apply(
        self, variables: Params, tokens: Int[Array, "B L"], **options: Any
    ) -> Classified:
        """Returns the scores of each token's labels, [B, L, C].

        Args:
          variables: `{"params": params}`.
          tokens: Token ids.
          **options: See `Transformer.features`.
        """
        found = self.model.features(variables, tokens, **options)
        return Classified(
            self.score(variables, found.x),
            found.hidden_states,
            found.attention_weights,
        )


class SequenceClassifier(Classifier):
    """A decoder that gives a text a label, at its last token.

    With one label it estimates a number.
    """

    __slots__ = ()

    def apply(
        self,
        variables: Params,
        tokens: Int[Array, "B L"],
        *,
        mask: Bool[Array, "B L"] | None = None,
        last: Int[Array, "B"] | None = None,
        **options: Any,
    ) -> Classified:
        """Returns the scores of each text's labels, [B, C].

        Args:
          variables: `{"params": params}`.
          tokens: Token ids.
          mask: False for padding, on either side.
          last: Where the last token of each text is. By default the last that the mask
            does not leave out; 0 in a row of padding.
          **options: See `Transformer.features`.
        """
        found = self.model.features(variables, tokens, mask=mask, **options)
        if last is None:
            valid = jnp.ones(tokens.shape, bool) if mask is None else mask
            last = jnp.max(jnp.where(valid, jnp.arange(tokens.shape[1]), 0), axis=1)
        x_BD = jnp.take_along_axis(found.x, last[:, None, None], axis=1)[:, 0]
        return Classified(
            self.score(variables, x_BD), found.hidden_states, found.attention_weights
        )
