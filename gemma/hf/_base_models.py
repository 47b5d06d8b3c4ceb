"""Models without a head: the last hidden state."""

from typing import Any

from gemma.gm.typing import Params
from gemma.hf._config import Gemma2Config, Gemma3TextConfig, GemmaConfig
from gemma.hf._model import PreTrainedModel
from gemma.hf._outputs import BaseModelOutputWithPast


class BaseModel(PreTrainedModel):
    """A decoder without a head."""

    _is_base = True

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        past_key_values: Any = None,
        inputs_embeds: Any = None,
        use_cache: bool | None = None,
        *,
        params: Params | None = None,
        **options: Any,
    ) -> BaseModelOutputWithPast:
        """Returns the last hidden state of each token.

        Args:
          input_ids: Ids, [B, L].
          attention_mask: 0 for padding, [B, L], or with the tokens before; padding may
            stand anywhere. Or [B, 1, L, L]: True, or 0.0 in floats that are added to the
            scores, where a token looks at another, on all layers and instead of all
            rules; then there are no keys and values before, and none are returned.
          position_ids: Place of each token in its row. By default they are counted, and
            padding is not. With `use_cache=False` and no mask they may begin anew: then
            a row is several documents, which do not see one another.
          past_key_values: Keys and values of the tokens before, as an earlier pass
            returned them; or what `init_cache` returns, of a fixed size.
          inputs_embeds: Vectors instead of ids; see `get_input_embeddings`.
          use_cache: Whether to return `past_key_values`; by default as the config says,
            and not under `jax.jit` and the like.
          params: Instead of the model's.
          **options: `output_hidden_states`, `output_attentions`, `return_dict`; by
            default as the config says. `token_type_ids` of zeros, for no token of a
            text is part of an image.
        """
        found = self._pass(
            self._params_or(params),
            input_ids,
            attention_mask,
            position_ids,
            past_key_values,
            inputs_embeds,
            use_cache,
            options,
        )
        return BaseModelOutputWithPast(
            last_hidden_state=found.features.x,
            **found.besides,
        )


class GemmaModel(BaseModel):
    """Gemma 1 without its head."""

    config_class = GemmaConfig


class Gemma2Model(BaseModel):
    """Gemma 2 without its head."""

    config_class = Gemma2Config


class Gemma3TextModel(BaseModel):
    """The text model of Gemma 3 without its head."""

    config_class = Gemma3TextConfig
