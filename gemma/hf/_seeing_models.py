"""Gemma 3 with its eyes: images and text in."""

from collections.abc import Mapping
from typing import Any

import jax

from gemma.gm.typing import Cache, Params
from gemma.hf._causal_lm import CausalLM
from gemma.hf._config import Gemma3Config
from gemma.hf._dynamic_cache import DynamicCache
from gemma.hf._eyes import (
    check_places,
    check_types,
    read_pixels,
    require_eyes,
    see,
    spread,
)
from gemma.hf._model import PreTrainedModel
from gemma.hf._outputs import Gemma3CausalLMOutputWithPast, Gemma3ModelOutputWithPast
from gemma.hf._passes import Pass, read_inputs


class SeeingModel(PreTrainedModel):
    """A model that sees, if its config has eyes."""

    config_class, _sees = Gemma3Config, True

    def _seeing_pass(
        self,
        params: Params,
        input_ids: Any,
        pixel_values: Any,
        attention_mask: Any,
        position_ids: Any,
        past_key_values: "DynamicCache | Cache | None",
        token_type_ids: Any,
        inputs_embeds: Any,
        use_cache: bool | None,
        options: Mapping[str, Any],
    ) -> Pass:
        """Runs the decoder over tokens and images."""
        new = read_inputs(
            input_ids, attention_mask, position_ids, inputs_embeds, past_key_values
        )
        config = self.transformer.config.vision
        check_types(token_type_ids, input_ids, config)
        soft = None
        if pixel_values is not None:
            soft = self._see(params, input_ids, pixel_values)
            assert config is not None
            new = new._replace(soft=spread(soft, new.tokens == config.soft_token))
        elif config is not None and past_key_values is None and input_ids is not None:
            # Later, a soft token without an image is one that was drawn.
            check_places(input_ids, config, 0)
        found = self._pass_over(params, new, past_key_values, use_cache, options)
        return found._replace(soft=soft)

    def _see(self, params: Params, input_ids: Any, pixel_values: Any) -> jax.Array:
        """Returns what stands for each image among the embeddings."""
        config = require_eyes(self.transformer.config)
        if input_ids is None:
            raise ValueError(
                "pixel_values need input_ids, which say where the images stand; found "
                "inputs_embeds."
            )
        pixels = read_pixels(pixel_values, config)
        check_places(input_ids, config, len(pixels))
        dtype = self.transformer.activation_dtype(params)
        return see(params["vision"], config, pixels).astype(dtype)


class Gemma3Model(SeeingModel):
    """Gemma 3 that has eyes, without its head."""

    _is_base = True

    def forward(
        self,
        input_ids: Any = None,
        pixel_values: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        past_key_values: Any = None,
        token_type_ids: Any = None,
        inputs_embeds: Any = None,
        use_cache: bool | None = None,
        *,
        params: Params | None = None,
        **options: Any,
    ) -> Gemma3ModelOutputWithPast:
        """Returns the last hidden state of each token.

        Args:
          input_ids: See `Gemma3ForConditionalGeneration.forward`, and all others too.
          pixel_values: See there.
          attention_mask: See there.
          position_ids: See there.
          past_key_values: See there.
          token_type_ids: See there.
          inputs_embeds: See there.
          use_cache: See there.
          params: See there.
          **options: See there.

        Raises:
          ValueError: See there.
        """
        found = self._seeing_pass(
            self._params_or(params),
            input_ids,
            pixel_values,
            attention_mask,
            position_ids,
            past_key_values,
            token_type_ids,
            inputs_embeds,
            use_cache,
            options,
        )
        return Gemma3ModelOutputWithPast(
            last_hidden_state=found.features.x,
            image_hidden_states=found.soft,
            **found.besides,
        )


class Gemma3ForConditionalGeneration(SeeingModel, CausalLM):
    """Gemma 3 that has eyes: reads text and images, writes text.

    What the processor of transformers returns goes in: `input_ids` in which the soft
    token of the config stands for each vector of an image, and `pixel_values`.
    """

    config_class, base_class = Gemma3Config, Gemma3Model

    # The order of transformers, in which images come before the mask.
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        input_ids: Any = None,
        pixel_values: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        past_key_values: Any = None,
        token_type_ids: Any = None,
        inputs_embeds: Any = None,
        labels: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: Any = 0,
        *,
        params: Params | None = None,
        **options: Any,
    ) -> Gemma3CausalLMOutputWithPast:
        """Returns the logits after each token, and the soft tokens of the images.

        The tokens of one image see one another, whichever comes first.

        Args:
          input_ids: Ids, [B, L]; see `GemmaModel.forward`.
          pixel_values: The images of all rows in the order of their soft tokens, floats
            from -1 to 1 of shape [images, 3, size, size]. Whatever follows
            `past_key_values` sees the images before it, which are not passed again.
          attention_mask: See `GemmaModel.forward`, and the next two too.
          position_ids: See there.
          past_key_values: See there.
          token_type_ids: 1 for each soft token and 0 for all others, which the ids say
            already. transformers hides the tokens of an image from one another where
            these are left out; here they always see one another.
          inputs_embeds: Vectors instead of ids; not with images.
          labels: See `GemmaForCausalLM.forward`, and all others too.
          use_cache: See there.
          logits_to_keep: See there.
          params: See there.
          **options: See there.

        Raises:
          ValueError: The model has no eyes; the images are of another size, or more or
            fewer than the soft tokens are for; types say something else than the ids;
            there are labels, and not all logits are kept.
        """
        given = self._params_or(params)
        found = self._seeing_pass(
            given,
            input_ids,
            pixel_values,
            attention_mask,
            position_ids,
            past_key_values,
            token_type_ids,
            inputs_embeds,
            use_cache,
            options,
        )
        loss, logits = self._head(given, found.features.x, labels, logits_to_keep)
        return Gemma3CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            image_hidden_states=found.soft,
            **found.besides,
        )
