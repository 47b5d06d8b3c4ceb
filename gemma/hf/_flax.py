"""The Flax classes of transformers 4: params may be passed, and answers come in a dict."""

from typing import Any

from gemma.hf._base_models import GemmaModel
from gemma.hf._causal_lm import GemmaForCausalLM


class FlaxGemmaModel(GemmaModel):
    """Gemma 1 without its head. `params` are those of `gm.nn`, not Flax's."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs a pass without keys and values, unless there are `past_key_values`."""
        return super().__call__(*args, **_without_past(kwargs))


class FlaxGemmaForCausalLM(GemmaForCausalLM):
    """Gemma 1. `params` are those of `gm.nn`, not Flax's."""

    _returns_dict = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs a pass without keys and values, unless there are `past_key_values`."""
        return super().__call__(*args, **_without_past(kwargs))


def _without_past(options: dict[str, Any]) -> dict[str, Any]:
    if options.pop("train", False):
        raise ValueError("The models have no dropout: leave train out.")
    return {"use_cache": options.get("past_key_values") is not None, **options}
