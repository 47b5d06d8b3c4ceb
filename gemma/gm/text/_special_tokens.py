"""The special tokens of a vocabulary, by the names of DeepMind's library."""

import enum
import re
from collections.abc import Mapping

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
    control_tokens: Mapping[str, int], *, family: str, num_rows: int
) -> list[int]:
    """Returns the tokens that stand for images in prompts, which no answer has.

    Args:
      control_tokens: Ids of a tokenizer's control tokens, by name.
      family: That of the model; Gemma 3 alone has images.
      num_rows: Rows of its embedding.
    """
    if family != "gemma3":
        return []
    ids = (control_tokens.get(name) for name in _OF_IMAGES)
    return [
        token_id for token_id in ids if token_id is not None and token_id < num_rows
    ]
