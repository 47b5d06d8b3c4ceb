"""Options of a tokenizer's `from_pretrained`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gemma.hf._fixed_options import FixedOption, take_fixed
from gemma.hf._hub_options import HubOptions

FIXED = {
    "use_fast": FixedOption((True, False, None), "there is one tokenizer only"),
    "legacy": FixedOption((True, False, None), "it changes nothing for Gemma"),
    "from_slow": FixedOption((True, False, None), "there is one tokenizer only"),
    "tokenizer_type": FixedOption((None,), "it is found by the files"),
    "clean_up_tokenization_spaces": FixedOption(
        (False, None), "it would change texts that Gemma's tokenizer can tell apart"
    ),
    "split_special_tokens": FixedOption(
        (False,), "use tokenizer.tokenizer.encode(text, control_tokens=False)"
    ),
    "spaces_between_special_tokens": FixedOption((False,), "texts are as they are"),
    "add_prefix_space": FixedOption((False, None), "Gemma's tokenizer adds no space"),
}
# What is always so in a call.
FIXED_IN_CALLS = {
    "text_target": FixedOption((None,), "encode it as a text of its own"),
    "text_pair_target": FixedOption((None,), "encode it as a text of its own"),
    "stride": FixedOption((0,), "cut long texts before they are encoded"),
    "return_overflowing_tokens": FixedOption(
        (False, None), "cut long texts before they are encoded"
    ),
    "is_split_into_words": FixedOption((False,), "join the words"),
    "return_length": FixedOption((False, None), "take len of input_ids"),
    "verbose": FixedOption((True, False), "nothing is printed"),
    "tokenizer_kwargs": FixedOption((None,), "pass them to the call"),
    "split_special_tokens": FixedOption(
        (False, None), "use tokenizer.tokenizer.encode(text, control_tokens=False)"
    ),
}
# Those that the class takes.
SETTINGS = (
    "add_bos_token",
    "add_eos_token",
    "padding_side",
    "truncation_side",
    "model_max_length",
)
SPECIAL_TOKENS = ("bos_token", "eos_token", "mask_token", "pad_token", "unk_token")


class TokenizerOptions(NamedTuple):
    """What was asked of a tokenizer's `from_pretrained`.

    Attributes:
      hub: Which files.
      settings: Arguments of the class.
      special_tokens: The tokens of some roles, instead of the checkpoint's.
    """

    hub: HubOptions
    settings: dict[str, Any]
    special_tokens: dict[str, Any]

    @classmethod
    def take(cls, options: Mapping[str, Any]) -> "TokenizerOptions":
        """Returns the options, each in its place.

        Raises:
          TypeError: There is no such option, or it cannot be honoured.
        """
        files, rest = HubOptions.take(take_fixed(options, FIXED))
        rest.pop("config", None)  # The files say of which family a tokenizer is.
        special = {n: rest.pop(n) for n in SPECIAL_TOKENS if n in rest}
        settings = {n: rest.pop(n) for n in SETTINGS if n in rest}
        if rest:
            raise TypeError(
                f"A tokenizer's from_pretrained has no {sorted(rest)[0]!r}; it has "
                f"{', '.join((*SETTINGS, *SPECIAL_TOKENS))}."
            )
        return cls(files, settings, special)

    def resolve(self, name: str | Path | None) -> Path:
        """Returns the file or folder of the tokenizer."""
        return self.hub.resolve(name)


def refuse_arguments(unknown: Mapping[str, Any]) -> None:
    """Refuses arguments of a tokenizer's call that cannot be honoured."""
    if rest := take_fixed(unknown, FIXED_IN_CALLS):
        raise TypeError(
            f"{next(iter(rest))!r} has no equal here; gm.text.Tokenizer is what the "
            "tokenizer is made of."
        )
