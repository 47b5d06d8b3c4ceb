"""`pipeline("text-generation")`: texts or conversations in, texts or conversations out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gemma.hf._auto import AutoModelForCausalLM
from gemma.hf._causal_lm import CausalLM
from gemma.hf._generation_config import GenerationConfig
from gemma.hf._tokenizer import AutoTokenizer, GemmaTokenizer

_TASK = "text-generation"
_MAX_NEW_TOKENS = 256


def pipeline(
    task: str = _TASK,
    model: str | Path | CausalLM | None = None,
    *,
    tokenizer: GemmaTokenizer | str | Path | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> "TextGenerationPipeline":
    """Returns a model with its tokenizer, as a function of texts.

    Args:
      task: "text-generation".
      model: The model or its name, see `gm.hub.resolve`; by default the embedded Gemma 3
        270M.
      tokenizer: By default the model's.
      model_kwargs: Arguments of `from_pretrained`.
      **options: The same, such as `device` and `dtype`.

    Raises:
      TypeError: Options of `from_pretrained` with a model that is there already.
      ValueError: There is no such task.
    """
    if task != _TASK:
        raise ValueError(f"task is {task!r}; there is {_TASK!r}.")
    asked = {**(model_kwargs or {}), **options}
    if not isinstance(model, CausalLM):
        model = AutoModelForCausalLM.from_pretrained(model, **asked)
        assert isinstance(model, CausalLM)
    elif asked:
        raise TypeError(
            f"The model is there already: pass {', '.join(map(repr, asked))} to its "
            "from_pretrained."
        )
    if not isinstance(tokenizer, GemmaTokenizer):
        place = model.transformer.checkpoint if tokenizer is None else tokenizer
        if place is None:
            raise ValueError("The model does not know its tokenizer: pass tokenizer=.")
        tokenizer = AutoTokenizer.from_pretrained(place)
    return TextGenerationPipeline(model, tokenizer)


class TextGenerationPipeline:
    """Writes texts and conversations on.

    Attributes:
      model: The model.
      tokenizer: Its tokenizer.
      generation_config: How it goes on unless a call says otherwise: as the checkpoint's
        generation_config.json says. Without that, tokens are drawn with temperature
        0.7. Answers have up to 256 tokens.
    """

    def __init__(self, model: CausalLM, tokenizer: GemmaTokenizer):
        self.model, self.tokenizer = model, tokenizer
        config = model.generation_config
        if config == GenerationConfig.from_model_config(model.config):
            config = config.changed({"do_sample": True, "temperature": 0.7})
        if config.max_length is None and config.max_new_tokens is None:
            config = config.changed({"max_new_tokens": _MAX_NEW_TOKENS})
        self.generation_config = config

    def __call__(
        self,
        text_inputs: str | Sequence[Any],
        *,
        return_full_text: bool = True,
        add_special_tokens: bool = True,
        **options: Any,
    ) -> list[Any]:
        """Returns `[{"generated_text": ...}]` for a text, a list of these for several.

        Args:
          text_inputs: A text or a conversation, that is a list of messages with "role"
            and "content"; or a list of texts or of conversations.
          return_full_text: Whether what is returned begins with what was given.
          add_special_tokens: Whether to put `<bos>` before texts.
          **options: See `generate`.
        """
        single = isinstance(text_inputs, str) or _is_conversation(text_inputs)
        given = [text_inputs] if single else list(text_inputs)
        found = [
            self._complete(one, return_full_text, add_special_tokens, options)
            for one in given
        ]
        return found[0] if single else found

    def _complete(
        self,
        given: Any,
        return_full_text: bool,
        add_special_tokens: bool,
        options: Mapping[str, Any],
    ) -> list[dict[str, Any]]:
        if _is_conversation(given):
            inputs = self.tokenizer.apply_chat_template(
                given, add_generation_prompt=True, return_tensors="np"
            )
        else:
            inputs = self.tokenizer(
                given, add_special_tokens=add_special_tokens, return_tensors="np"
            )
        config = self.generation_config
        if options.get("do_sample") is False:
            # Nothing is drawn: how it would be is not looked at.
            config = config.changed({"do_sample": False})
        sequences = self.model.generate(
            inputs,
            config,
            tokenizer=self.tokenizer,
            **{**options, "return_dict_in_generate": True},
        ).sequences
        answers = self.tokenizer.batch_decode(
            sequences[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return [
            {"generated_text": _joined(given, answer) if return_full_text else answer}
            for answer in answers
        ]


def _is_conversation(given: Any) -> bool:
    return (
        not isinstance(given, str)
        and len(given) > 0
        and all(isinstance(turn, Mapping) for turn in given)
    )


def _joined(given: Any, answer: str) -> Any:
    if isinstance(given, str):
        return given + answer
    return [*given, {"role": "assistant", "content": answer}]
