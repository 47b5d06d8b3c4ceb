"""The special tokens of a vocabulary, by the names of DeepMind's library."""

import enum
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # which brings JAX
    from gemma.gm.nn import TransformerConfig

_NAMES = {
    "PAD": "<pad>",
    "EOS": "<eos>",
    "BOS": "<bos>",
    "UNK": "<unk>",
    "MASK": "<mask>",
    "START_OF_TURN": "<start_of_turn>",
    "END_OF_TURN": "<end_of_turn>",
    "START_OF_IMAGE": "<start_of_image>",
    "IMAGE_PLACEHOLDER": "<start_of_image>",
    "END_OF_IMAGE": "<end_of_image>",
    "BEGIN_OF_TOOL_RESPONSE": "<start_function_response>",
    "END_OF_TOOL_RESPONSE": "<end_function_response>",
}
_UNUSED = re.compile(r"<unused(\d+)>")
_OF_IMAGES = ("<start_of_image>", "<end_of_image>", "<image_soft_token>")
# What Gemma's control tokens look like, and some other text too. No bracket of either
# kind inside, or the "<" of "x < y [multimodal]>" would hide the token.
_TAG = re.compile(r"<[^<>\[\]]*>|\[[^<>\[\]]*\]")
# Those up to this one follow one another; in Gemma 3 later ones stand elsewhere.
NUM_CUSTOM = 99


def special_tokens_of(control_tokens: Mapping[str, int]) -> type[enum.IntEnum]:
    """Returns the ids of the special tokens that a vocabulary has.

    Args:
      control_tokens: Ids of its control tokens, by name.
    """
    found = {
        name: control_tokens[token]
        for name, token in _NAMES.items()
        if token in control_tokens
    }
    first = first_unused(control_tokens)
    custom = {} if first is None else {"CUSTOM": first}
    return enum.IntEnum("SpecialTokens", found | custom)


def first_unused(control_tokens: Mapping[str, int]) -> int | None:
    """Returns the id of `<unused0>`, which may have another name by now."""
    for token, token_id in control_tokens.items():
        match = _UNUSED.fullmatch(token)
        if match and int(match[1]) < NUM_CUSTOM:
            return token_id - int(match[1])
    return None


def image_token_ids(
    control_tokens: Mapping[str, int], config: "TransformerConfig"
) -> list[int]:
    """Returns the tokens that stand for images in prompts, which no answer has.

    Args:
      control_tokens: Ids of a tokenizer's control tokens, by name.
      config: The model; Gemma 3 alone has images.
    """
    if config.family != "gemma3":
        return []
    ids = (control_tokens.get(name) for name in _OF_IMAGES)
    return [i for i in ids if i is not None and i < config.vocab_size]


def tag_pattern(names: Sequence[str]) -> re.Pattern[str]:
    """Returns what finds the names of control tokens in a text, and perhaps others."""
    if all(map(_TAG.fullmatch, names)):
        # An expression with the 6,250 names of Gemma 3 takes a quarter of a second to
        # compile. Tags cannot overlap, so a look at the table does as well.
        return _TAG
    return re.compile("|".join(map(re.escape, sorted(names, key=len)[::-1])))
