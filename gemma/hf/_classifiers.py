"""Classifiers of texts and of tokens, with their losses.

Axes: B batch, L length, C labels.
"""

import dataclasses
import warnings
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from gemma.gm import ckpts, losses, nn
from gemma.gm.typing import Params
from gemma.hf._arrays import to_jax
from gemma.hf._config import Gemma2Config, Gemma3TextConfig, GemmaConfig
from gemma.hf._loading import Options
from gemma.hf._model import PreTrainedModel
from gemma.hf._outputs import (
    SequenceClassifierOutputWithPast,
    TokenClassifierOutput,
)
from gemma.hf._ranges import read_labels

_REGRESSION = "regression"
_SINGLE_LABEL = "single_label_classification"
_MULTI_LABEL = "multi_label_classification"
_PROBLEM_TYPES = (_REGRESSION, _SINGLE_LABEL, _MULTI_LABEL)


_score = jax.jit(nn.Classifier.score, static_argnums=0)
_squared_error = jax.jit(losses.squared_error)
_cross_entropy = jax.jit(losses.cross_entropy)
_binary_cross_entropy = jax.jit(losses.binary_cross_entropy)


class ClassifierModel(PreTrainedModel):
    """A decoder with scores of labels, as many as its config names."""

    kind: ClassVar[type[nn.Classifier]]
    output_class: ClassVar[
        type[SequenceClassifierOutputWithPast] | type[TokenClassifierOutput]
    ]

    @property
    def num_labels(self) -> int:
        """How many labels there are."""
        return self.config.num_labels

    def _core(self) -> nn.Classifier:
        return self.kind(self.transformer, self.num_labels)

    def _read(self, checkpoint: ckpts.Checkpoint, options: Options) -> Params:
        if checkpoint.num_labels is None:
            warnings.warn(
                f"{checkpoint.path} is no classifier yet: the scores of its labels are "
                "random, and have to be trained.",
                stacklevel=3,
            )
        return ckpts.read_classifier(checkpoint, self._core(), dtype=options.weights)

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        past_key_values: Any = None,
        inputs_embeds: Any = None,
        labels: Any = None,
        use_cache: bool | None = None,
        *,
        params: Params | None = None,
        **options: Any,
    ) -> Any:
        """Returns the scores of labels, and their loss.

        Args:
          input_ids: See `GemmaModel.forward`, and the next four too.
          attention_mask: See there.
          position_ids: See there.
          past_key_values: See there.
          inputs_embeds: See there.
          labels: What is right; see the classes of this one.
          use_cache: Whether to return `past_key_values`; by default not.
          params: Instead of the model's.
          **options: See there.
        """
        fields = {field.name for field in dataclasses.fields(self.output_class)}
        if use_cache and "past_key_values" not in fields:
            raise ValueError(f"A {self.output_class.__name__} has no past_key_values.")
        given = self._params_or(params)
        found = self._pass(
            given,
            input_ids,
            attention_mask,
            position_ids,
            past_key_values,
            inputs_embeds,
            bool(use_cache),
            options,
        )
        x = self._scored(to_jax(input_ids), found.features.x)
        logits = _score(self._core(), {"params": given}, x)
        loss = None if labels is None else self._loss(logits, to_jax(labels))
        besides = {n: value for n, value in found.besides.items() if n in fields}
        return self.output_class(loss=loss, logits=logits, **besides)

    def _scored(self, tokens: jax.Array | None, x: jax.Array) -> jax.Array:
        """Returns the vectors that get scores."""
        raise NotImplementedError

    def _loss(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        raise NotImplementedError


class SequenceClassifierModel(ClassifierModel):
    """A decoder that gives a text a label, or a number if there is one label only.

    Scores are [B, C], those of the last token: the last one that is not the config's
    padding token, wherever padding stands; of `inputs_embeds` the last one. Labels are a
    number each for regression, a label each, or how right each label is, [B, C].
    `config.problem_type` says which; by default one label is regression, and whole
    numbers are labels.
    """

    kind = nn.SequenceClassifier
    output_class = SequenceClassifierOutputWithPast

    def _scored(self, tokens: jax.Array | None, x: jax.Array) -> jax.Array:
        """Returns the vector of the last token of each text."""
        last = self._last(tokens, x)
        return jnp.take_along_axis(x, last[:, None, None], axis=1)[:, 0]

    def _last(self, tokens: jax.Array | None, x: jax.Array) -> jax.Array:
        """Returns where the last token of each text is."""
        B, L, _ = x.shape
        pad = self.config.pad_token_id
        if tokens is None or pad is None:
            return jnp.full([B], L - 1, jnp.int32)
        place = jnp.arange(L, dtype=jnp.int32)
        return jnp.max(jnp.where(tokens != pad, place[None, :], 0), axis=1)

    def _loss(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        """Returns the loss of the kind of problem, which the config keeps."""
        if self.config.problem_type is None:
            self.config.problem_type = self._problem_type(labels)
        if self.config.problem_type == _REGRESSION:
            if labels.size != logits.size:
                raise _misshapen(labels, logits)
            return _squared_error(logits.reshape(labels.shape), labels)
        if self.config.problem_type == _SINGLE_LABEL:
            rows = read_labels(labels.reshape(-1), logits.shape[:1], self.num_labels)
            return _cross_entropy(logits, rows)
        if self.config.problem_type == _MULTI_LABEL:
            if labels.shape != logits.shape:
                raise _misshapen(labels, logits)
            return _binary_cross_entropy(logits, labels.astype(jnp.float32))
        raise ValueError(
            f"problem_type is {self.config.problem_type!r}; choose "
            f"{', '.join(map(repr, _PROBLEM_TYPES))}."
        )

    def _problem_type(self, labels: jax.Array) -> str:
        if self.num_labels == 1:
            return _REGRESSION
        is_whole = jnp.issubdtype(labels.dtype, jnp.integer)
        return _SINGLE_LABEL if is_whole else _MULTI_LABEL


class TokenClassifierModel(ClassifierModel):
    """A decoder that gives each token a label.

    Scores are [B, L, C]. Labels are one a token, -100 where the loss shall not count.
    """

    kind = nn.TokenClassifier
    output_class = TokenClassifierOutput

    def _scored(self, tokens: jax.Array | None, x: jax.Array) -> jax.Array:
        return x

    def _loss(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        right = read_labels(labels, logits.shape[:2], self.num_labels)
        return _cross_entropy(logits, right)


class GemmaForSequenceClassification(SequenceClassifierModel):
    """Gemma 1 that gives texts labels."""

    config_class = GemmaConfig


class Gemma2ForSequenceClassification(SequenceClassifierModel):
    """Gemma 2 that gives texts labels."""

    config_class = Gemma2Config


class Gemma3TextForSequenceClassification(SequenceClassifierModel):
    """Gemma 3 that gives texts labels."""

    config_class = Gemma3TextConfig


class GemmaForTokenClassification(TokenClassifierModel):
    """Gemma 1 that gives tokens labels."""

    config_class = GemmaConfig


class Gemma2ForTokenClassification(TokenClassifierModel):
    """Gemma 2 that gives tokens labels."""

    config_class = Gemma2Config


def _misshapen(labels: jax.Array, logits: jax.Array) -> ValueError:
    return ValueError(
        f"labels have shape {labels.shape} and the scores {logits.shape}: one label is "
        "needed for each score."
    )
