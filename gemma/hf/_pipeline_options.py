"""What may be said to a pipeline when it is made, and when it is called."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self

from gemma.gm._numbers import check_optional_count
from gemma.hf import _hub_options, _loading
from gemma.hf._fixed_options import FixedOption, take_fixed

_NO_MEDIA = "it reads text; pass images to gm.text.ChatSampler"
# What is always so when a pipeline is made.
FIXED = {
    "use_fast": FixedOption((True, False), "there is one tokenizer only"),
    "framework": FixedOption((None, "pt", "jax"), "arrays are JAX's"),
    "feature_extractor": FixedOption((None,), _NO_MEDIA),
    "image_processor": FixedOption((None,), _NO_MEDIA),
    "video_processor": FixedOption((None,), _NO_MEDIA),
    "processor": FixedOption((None,), _NO_MEDIA),
    "pipeline_class": FixedOption((None,), "there is one pipeline"),
    "binary_output": FixedOption((False,), "texts are returned"),
    "assistant_tokenizer": FixedOption((None,), "an assistant has the same tokenizer"),
}
# What is always so when it is called.
FIXED_IN_CALLS = {
    "clean_up_tokenization_spaces": FixedOption(
        (None, False), "it would change texts that Gemma's tokenizer can tell apart"
    ),
    "prefix": FixedOption((None, ""), "put it before the text"),
    "handle_long_generation": FixedOption(
        (None,), "pass truncation=True and tokenizer_encode_kwargs={'max_length': n}"
    ),
    "num_workers": FixedOption((None, 0, 1), "texts are encoded one after another"),
}
FOR_LOADING = (
    *_loading.HONOURED,
    *_loading.FIXED,
    *_hub_options.HONOURED,
    *_hub_options.FIXED,
)
ReturnKind = Literal["full_text", "new_text", "tensors"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallOptions:
    """How a pipeline encodes what it gets, and what it returns.

    Attributes:
      batch_size: Prompts that go through the model together.
      returns: What is returned: the text with the prompt, without it, or ids.
      skip_special_tokens: Whether control tokens are left out of texts.
      continue_final_message: Whether the last message of a conversation is written on;
        by default if it is the assistant's.
      encoding: Arguments of the tokenizer.
      template: Arguments of `apply_chat_template`.
    """

    batch_size: int = 1
    returns: ReturnKind = "full_text"
    skip_special_tokens: bool = True
    continue_final_message: bool | None = None
    encoding: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    template: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def take(cls, options: Mapping[str, Any]) -> tuple[Self, dict[str, Any]]:
        """Returns these options, and those that are left, for `generate`.

        Raises:
          TypeError: An option of transformers that cannot be honoured.
          ValueError: Options that do not go together.
        """
        rest = take_fixed(options, FIXED_IN_CALLS)
        returns = _return_kind(rest)
        batch = check_optional_count(
            "batch_size", rest.pop("batch_size", None), at_least=1
        )
        names = "add_special_tokens", "truncation", "padding"
        encoding = {n: rest.pop(n) for n in names if n in rest}
        if "max_length" in rest and encoding.get("truncation"):
            encoding["max_length"] = rest["max_length"]
        encoding = {n: v for n, v in encoding.items() if v is not None}
        encoding |= rest.pop("tokenizer_encode_kwargs", None) or {}
        template = {n: rest.pop(n, None) for n in ("tools", "documents")}
        skips = rest.pop("skip_special_tokens", None)
        if (stop := rest.pop("stop_sequence", None)) is not None:
            rest["stop_strings"] = stop
        found = cls(
            batch_size=batch or 1,
            returns=returns,
            skip_special_tokens=True if skips is None else skips,
            continue_final_message=rest.pop("continue_final_message", None),
            encoding=encoding,
            template={n: v for n, v in template.items() if v is not None},
        )
        return found, rest | (rest.pop("generate_kwargs", None) or {})


class Construction(NamedTuple):
    """What was said when a pipeline was made.

    Attributes:
      loading: Arguments of `from_pretrained`.
      calls: Arguments of each call.
    """

    loading: dict[str, Any]
    calls: dict[str, Any]

    @classmethod
    def take(
        cls, model_kwargs: Mapping[str, Any] | None, options: Mapping[str, Any]
    ) -> "Construction":
        """Returns both.

        Raises:
          TypeError: An option of transformers that cannot be honoured.
        """
        rest = take_fixed(options, FIXED)
        loading = {n: rest.pop(n) for n in FOR_LOADING if n in rest}
        return cls({**(model_kwargs or {}), **loading}, rest)


def _return_kind(options: dict[str, Any]) -> ReturnKind:
    """Takes out what says what is returned."""
    stated = {
        name: value
        for name in ("return_full_text", "return_text", "return_tensors")
        if (value := options.pop(name, None)) is not None
    }
    if len(stated) > 1:
        raise ValueError(f"{' and '.join(stated)} do not go together: pass one.")
    if stated.get("return_tensors"):
        return "tensors"
    return "new_text" if stated.get("return_full_text") is False else "full_text"
