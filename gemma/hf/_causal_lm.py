"""Language models: logits, the loss of the next token, and `generate`."""

import contextlib
from pathlib import Path
from typing import Any, ClassVar

import jax

from gemma.gm import ckpts, losses, nn, text
from gemma.gm.typing import Params
from gemma.hf._arrays import is_torch, to_jax, to_torch
from gemma.hf._base_models import Gemma2Model, Gemma3TextModel, GemmaModel
from gemma.hf._config import (
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    PretrainedConfig,
)
from gemma.hf._generate import GenerationMixin
from gemma.hf._generation_config import GENERATION_CONFIG, GenerationConfig
from gemma.hf._model import PreTrainedModel
from gemma.hf._outputs import CausalLMOutputWithPast
from gemma.hf._ranges import read_labels

_logits = jax.jit(nn.Transformer.logits, static_argnums=0)
_loss = jax.jit(losses.next_token_cross_entropy)


class CausalLM(GenerationMixin):
    """A language model."""

    base_class: ClassVar[type[PreTrainedModel]]
    _has_lm_head = True

    def __init__(self, config: PretrainedConfig, *, params: Params | None = None):
        """Makes a model; see `PreTrainedModel`."""
        super().__init__(config, params=params)
        self.generation_config = GenerationConfig.from_model_config(config)
        self._settings_read: dict[str, Any] = {}

    def _take_settings(self, checkpoint: ckpts.Checkpoint) -> None:
        """Takes the ends of answers, and how they are drawn."""
        with contextlib.suppress(FileNotFoundError):
            if not (checkpoint.path / "config.json").exists():
                # Of other formats the tokenizer knows what ends an answer.
                ends = text.Tokenizer.from_path(checkpoint.path).stop_ids
                self.generation_config.eos_token_id = ends
            elif (checkpoint.path / GENERATION_CONFIG).exists():
                found = GenerationConfig.from_pretrained(checkpoint.path)
                self.generation_config = found.over(self.generation_config)
        self._settings_read = self.generation_config.to_dict()

    def _write(self, folder: Path, params: Params, max_shard_bytes: int) -> None:
        """Writes a folder, with what was changed of how answers are drawn."""
        super()._write(folder, params, max_shard_bytes)
        self.generation_config.update_file(
            folder / GENERATION_CONFIG, self._settings_read
        )

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        past_key_values: Any = None,
        inputs_embeds: Any = None,
        labels: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: Any = 0,
        *,
        params: Params | None = None,
        **options: Any,
    ) -> CausalLMOutputWithPast:
        """Returns the logits after each token.

        Args:
          input_ids: See `GemmaModel.forward`, and the next four too.
          attention_mask: See there.
          position_ids: See there.
          past_key_values: See there.
          inputs_embeds: See there.
          labels: The ids again, -100 where the loss shall not count: the token at each
            place should be foreseen by the one before.
          use_cache: See there.
          logits_to_keep: How many of the last places to return logits of, 0 for all; or
            which places.
          params: Instead of the model's.
          **options: See there.

        Raises:
          ValueError: There are labels, and not all logits are kept.
        """
        given = self._params_or(params)
        found = self._pass(
            given,
            input_ids,
            attention_mask,
            position_ids,
            past_key_values,
            inputs_embeds,
            use_cache,
            options,
        )
        loss, logits = self._head(given, found.features.x, labels, logits_to_keep)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            **found.besides,
        )

    def _head(
        self, params: Params, x: jax.Array, labels: Any, logits_to_keep: Any
    ) -> tuple[jax.Array | None, jax.Array]:
        """Returns the loss, if there are labels, and the logits of last hidden states."""
        kept = _kept(x, logits_to_keep)
        logits = _logits(self.transformer, {"params": params}, kept)
        if labels is None:
            return None, logits
        if kept is not x:
            raise ValueError("The loss needs all logits: leave logits_to_keep out.")
        num_tokens = self.transformer.config.vocab_size
        return _loss(logits, read_labels(labels, x.shape[:2], num_tokens)), logits

    @property
    def model(self) -> PreTrainedModel:
        """The model without its head, with the same params."""
        base = self.base_class(self.config, params=self.params)
        base.transformer = self.transformer
        return base

    def lm_head(self, hidden_states: Any) -> Any:
        """Returns the logits of last hidden states."""
        variables = {"params": self.params}
        logits = _logits(self.transformer, variables, to_jax(hidden_states))
        return to_torch(logits) if is_torch(hidden_states) else logits


class GemmaForCausalLM(CausalLM):
    """Gemma 1 and CodeGemma."""

    config_class, base_class = GemmaConfig, GemmaModel


class Gemma2ForCausalLM(CausalLM):
    """Gemma 2."""

    config_class, base_class = Gemma2Config, Gemma2Model


class Gemma3ForCausalLM(CausalLM):
    """Gemma 3, its text."""

    config_class, base_class = Gemma3TextConfig, Gemma3TextModel


def _kept(x: jax.Array, logits_to_keep: Any) -> jax.Array:
    """Returns the places that logits are wanted of."""
    if not isinstance(logits_to_keep, int):
        return x[:, to_jax(logits_to_keep)]
    if logits_to_keep < 0:
        raise ValueError(f"logits_to_keep is {logits_to_keep}; it must be 0 or more.")
    return x[:, -logits_to_keep:] if logits_to_keep else x
