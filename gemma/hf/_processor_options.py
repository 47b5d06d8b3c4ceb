"""Options of a processor's calls: which are of its texts, and which of its images."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gemma.hf import _chat_template, _image_processor, _tokenizer_options
from gemma.hf._fixed_options import FixedOption, take_fixed

_NO_OTHERS = "Gemma 3 reads texts and images"
FIXED = {
    "videos": FixedOption((None,), _NO_OTHERS),
    "audio": FixedOption((None,), _NO_OTHERS),
    "videos_kwargs": FixedOption((None, {}), _NO_OTHERS),
    "audio_kwargs": FixedOption((None, {}), _NO_OTHERS),
    "text_pair": FixedOption((None,), "join the texts"),
    "image_seq_length": FixedOption((None,), "set it of the processor"),
    "return_token_type_ids": FixedOption(
        (True, False, None), "return_mm_token_type_ids says whether they are returned"
    ),
    "sanitize_control_tokens": _chat_template.FIXED["sanitize_control_tokens"],
    "return_metadata": FixedOption((False, None), "there are no videos"),
    "return_text_replacement_offsets": FixedOption(
        (False, None), "return_offsets_mapping says where tokens stand"
    ),
}
FIXED_IN_CHAT = {
    "load_audio_from_video": FixedOption((False,), _NO_OTHERS),
}
_TYPES = "return_mm_token_type_ids"
HONOURED = ("text", "images", "text_kwargs", "images_kwargs", "common_kwargs", _TYPES)
# Of the tokenizer's call, which a processor makes.
OF_TEXT = (
    "add_special_tokens",
    "max_length",
    "pad_to_multiple_of",
    "padding",
    "padding_side",
    "return_attention_mask",
    "return_offsets_mapping",
    "return_special_tokens_mask",
    "return_tensors",
    "truncation",
)


class Asked(NamedTuple):
    """What was asked of a call.

    Attributes:
      text: Arguments of the tokenizer.
      images: Arguments of the image processor.
      kind: "np", "jax" or "pt"; None for lists.
      with_types: Whether to return `token_type_ids`.
    """

    text: dict[str, Any]
    images: dict[str, Any]
    kind: str | None
    with_types: bool

    @classmethod
    def take(cls, options: Mapping[str, Any]) -> "Asked":
        """Returns the options, each in its place.

        Raises:
          TypeError: There is no such option, or it cannot be honoured.
          ValueError: An option was passed twice.
        """
        rest = take_fixed(options, FIXED)
        common = rest.pop("common_kwargs", None) or {}
        text = {**common, **(rest.pop("text_kwargs", None) or {})}
        images = dict(rest.pop("images_kwargs", None) or {})
        text, images = take_fixed(text, FIXED), take_fixed(images, FIXED)
        if twice := (text.keys() | images.keys()) & rest.keys():
            raise ValueError(f"{min(twice)!r} was passed twice, once in a dict.")
        of_images = {*_image_processor.CALL_OPTIONS, *_image_processor.FIXED}
        for name, value in rest.items():
            (images if name in of_images else text)[name] = value
        images.pop("return_tensors", None)
        kind, types = text.pop("return_tensors", None), text.pop(_TYPES, True)
        return cls(text, images, kind, types is not False)


def split_chat_options(
    options: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns options of a call, and what is left: variables of a template.

    Raises:
      TypeError: One cannot be honoured.
    """
    variables = take_fixed(options, FIXED_IN_CHAT)
    ours = {*HONOURED, *FIXED, *OF_TEXT, *_tokenizer_options.FIXED_IN_CALLS}
    ours |= {*_image_processor.CALL_OPTIONS, *_image_processor.FIXED}
    called = {n: variables.pop(n) for n in ours & variables.keys()}
    return called, variables
