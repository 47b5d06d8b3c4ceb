"""`pipeline("text-generation")`: texts or conversations in, texts or conversations out."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gemma.hf._auto import AutoModelForCausalLM
from gemma.hf._causal_lm import CausalLM
from gemma.hf._generate import ARGUMENTS
from gemma.hf._generation_config import GenerationConfig
from gemma.hf._hub_options import HONOURED as _FILES
from gemma.hf._pipeline_options import CallOptions, Construction
from gemma.hf._tokenizer import AutoTokenizer, GemmaTokenizer

_TASK = "text-generation"
# What holds where neither a call nor the model's generation_config says otherwise.
_DEFAULTS = {"max_new_tokens": 256, "do_sample": True, "temperature": 0.7}


def pipeline(
    task: str | None = _TASK,
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
      **options: The same, such as `device` and `dtype`; all others are arguments of each
        call, such as `max_new_tokens` and `batch_size`.

    Raises:
      TypeError: Options of `from_pretrained` with a model that is there already.
      ValueError: There is no such task.
    """
    if task not in (None, _TASK):
        raise ValueError(f"task is {task!r}; there is {_TASK!r}.")
    asked = Construction.take(model_kwargs, options)
    files = {n: v for n, v in asked.loading.items() if n in _FILES}
    if not isinstance(model, CausalLM):
        model = AutoModelForCausalLM.from_pretrained(model, **asked.loading)
        assert isinstance(model, CausalLM)
    else:
        _use(model, asked.loading)
    if not isinstance(tokenizer, GemmaTokenizer):
        place = model.transformer.checkpoint if tokenizer is None else tokenizer
        if place is None:
            raise ValueError("The model does not know its tokenizer: pass tokenizer=.")
        tokenizer = AutoTokenizer.from_pretrained(
            place, **({} if place is model.transformer.checkpoint else files)
        )
    return TextGenerationPipeline(model, tokenizer, **asked.calls)


def _use(model: CausalLM, loading: Mapping[str, Any]) -> None:
    """Moves a model that is there already; the rest of loading is over."""
    stated = {n: v for n, v in loading.items() if v not in (None, "auto", False)}
    device = stated.pop("device", stated.pop("device_map", None))
    if stated:
        raise TypeError(
            f"The model is there already: pass {', '.join(map(repr, stated))} to its "
            "from_pretrained."
        )
    if device is not None:
        model.to(device)


class TextGenerationPipeline:
    """Writes texts and conversations on.

    Attributes:
      model: The model.
      tokenizer: Its tokenizer.
      generation_config: How it goes on unless a call says otherwise: as the model's
        generation_config; where that does not say, up to 256 tokens, drawn with
        temperature 0.7.
    """

    def __init__(self, model: CausalLM, tokenizer: GemmaTokenizer, **options: Any):
        """Makes a pipeline.

        Args:
          model: The model.
          tokenizer: Its tokenizer.
          **options: Arguments of each call.

        Raises:
          TypeError: A call has no such argument.
        """
        self.model, self.tokenizer = model, tokenizer
        self._options = options
        self.generation_config = self._with_defaults(model.generation_config)
        for_generate = CallOptions.take(options)[1]
        fields = {n: v for n, v in for_generate.items() if n not in ARGUMENTS}
        self._settings(for_generate).changed(fields)

    def __call__(self, text_inputs: Any, **options: Any) -> Any:
        """Returns `[{"generated_text": ...}]` for a text, a list of these for several.

        With `num_return_sequences` there are as many of them for each text.

        Args:
          text_inputs: A text or a conversation, that is a list of messages with "role"
            and "content"; or a list of texts or of conversations; or an iterator of
            them, for which there is an iterator of what is returned. A conversation that
            ends with the assistant is written on there.
          **options: `return_full_text` (True), `return_tensors` (False),
            `add_special_tokens` (True), `skip_special_tokens` (True), `truncation`,
            `tokenizer_encode_kwargs`, `continue_final_message`, `batch_size` (1),
            `stop_sequence`; and those of `generate`, such as `max_new_tokens`,
            `max_length` and `generation_config`.

        Raises:
          TypeError: An option of transformers that cannot be honoured.
          ValueError: Options are out of range, or a message lacks a role.
        """
        known = self._options
        if options.get("generation_config") is not None:
            fields = vars(GenerationConfig())
            known = {n: v for n, v in known.items() if n not in fields}
        call, rest = CallOptions.take({**known, **options})
        if isinstance(text_inputs, Iterator):
            return self._stream(text_inputs, call, rest)
        if isinstance(text_inputs, str) or _is_conversation(text_inputs):
            return self._complete([text_inputs], call, rest)[0]
        return list(self._stream(iter(text_inputs), call, rest))

    def _stream(
        self, inputs: Iterator[Any], call: CallOptions, options: Mapping[str, Any]
    ) -> Iterator[list[dict[str, Any]]]:
        batch: list[Any] = []
        for one in inputs:
            batch.append(one)
            if len(batch) == call.batch_size:
                yield from self._complete(batch, call, options)
                batch = []
        if batch:
            yield from self._complete(batch, call, options)

    def _complete(
        self, given: Sequence[Any], call: CallOptions, options: Mapping[str, Any]
    ) -> list[list[dict[str, Any]]]:
        """Returns what was made of each prompt of a batch."""
        rows = [self._encode(one, call) for one in given]
        inputs = self.tokenizer.pad(
            {"input_ids": rows}, padding_side="left", return_tensors="np"
        )
        config = self._settings(options)
        if config.stop_strings:
            options = {**options, "tokenizer": self.tokenizer}
        asked = {n: v for n, v in options.items() if n != "generation_config"}
        found = self.model.generate(
            inputs, config, **{**asked, "return_dict_in_generate": True}
        )
        sequences = np.asarray(found["sequences"])
        new = sequences[:, inputs["input_ids"].shape[1] :]
        return [
            [
                self._record(one, call, ids, whole)
                for ids, whole in zip(*group, strict=True)
            ]
            for one, *group in zip(
                given, np.split(new, len(given)), np.split(sequences, len(given)),
                strict=True,
            )
        ]  # fmt: skip

    def _encode(self, given: Any, call: CallOptions) -> list[int]:
        if not _is_conversation(given):
            return self.tokenizer(given, **call.encoding)["input_ids"]
        for message in given:
            if not {"role", "content"} <= message.keys():
                raise ValueError(
                    f"A message has {', '.join(map(repr, message)) or 'nothing'}; it "
                    "needs 'role' and 'content'."
                )
        encoding = {n: v for n, v in call.encoding.items() if n != "add_special_tokens"}
        text = self._written(given, call)
        return self.tokenizer(text, add_special_tokens=False, **encoding)["input_ids"]

    def _written(self, messages: Sequence[Mapping[str, Any]], call: CallOptions) -> str:
        """Returns a conversation as text that the model writes on."""
        goes_on = _goes_on(messages, call)
        return self.tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=not goes_on,
            continue_final_message=goes_on,
            **call.template,
        )

    def _settings(self, options: Mapping[str, Any]) -> GenerationConfig:
        """Returns the config of a call: its own, or the pipeline's."""
        stated = options.get("generation_config")
        config = self.generation_config
        if stated is not None:
            config = self._with_defaults(stated.over(self.model.generation_config))
        if "max_length" in options and "max_new_tokens" not in options:
            config = config.changed({"max_new_tokens": None})
        if options.get("do_sample") is False:
            # Nothing is drawn: how it would be is not looked at.
            config = config.changed({"do_sample": False})
        return config

    def _with_defaults(self, config: GenerationConfig) -> GenerationConfig:
        stated = config.to_dict()
        missing = {n: v for n, v in _DEFAULTS.items() if n not in stated}
        if "max_length" in stated:
            missing.pop("max_new_tokens", None)
        if not {**stated, **missing}.get("do_sample"):
            missing.pop("temperature", None)
        if config.pad_token_id is None:
            missing["pad_token_id"] = self.tokenizer.pad_token_id
        return config.changed(missing)

    def _record(
        self, given: Any, call: CallOptions, new: np.ndarray, whole: np.ndarray
    ) -> dict[str, Any]:
        if call.returns == "tensors":
            return {"generated_token_ids": whole.tolist()}
        answer = self.tokenizer.decode(
            new, skip_special_tokens=call.skip_special_tokens
        )
        assert isinstance(answer, str)
        if call.returns == "new_text":
            return {"generated_text": answer}
        return {"generated_text": _joined(given, answer, call)}


def _is_conversation(given: Any) -> bool:
    return (
        isinstance(given, Sequence)
        and not isinstance(given, str)
        and len(given) > 0
        and all(isinstance(turn, Mapping) for turn in given)
    )


def _goes_on(messages: Sequence[Mapping[str, Any]], call: CallOptions) -> bool:
    if call.continue_final_message is not None:
        return call.continue_final_message
    return messages[-1]["role"] == "assistant"


def _joined(given: Any, answer: str, call: CallOptions) -> Any:
    if isinstance(given, str):
        return given + answer
    if _goes_on(given, call):
        last = given[-1]
        return [*given[:-1], {**last, "content": last["content"] + answer}]
    return [*given, {"role": "assistant", "content": answer}]
