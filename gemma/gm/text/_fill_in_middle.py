"""Fill in the middle: the text that belongs between two others, as CodeGemma writes it.

Reference: CodeGemma Team 2024, "CodeGemma: Open Code Models Based on Gemma", section 2.2;
Bavarian et al. 2022, "Efficient Training of Language Models to Fill in the Middle".
"""

from gemma.gm.text._tokenizer import Tokenizer

_PREFIX, _SUFFIX, _MIDDLE = "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"
# Between the files of one training example: what follows is another file.
_FILE_SEPARATOR = "<|file_separator|>"


def fill_in_middle_prompt(tokenizer: Tokenizer, prefix: str, suffix: str) -> list[int]:
    r"""Returns the prompt after which CodeGemma writes what stands between two texts.

    Args:
      tokenizer: The model's.
      prefix: The text before; a control token's name in it is text, as the rest.
      suffix: The text behind.

    Raises:
      ValueError: The tokenizer has no tokens for this, or a text holds a lone surrogate.

    Example:
      ```python
      ids = fill_in_middle_prompt(tokenizer, "def add(a, b):\n    return ", "\n")
      sampler.sample(ids, stop_tokens=fill_in_middle_stops(tokenizer))  # "a + b"
      ```
    """
    before, between, behind = (
        _required_id(tokenizer, name) for name in (_PREFIX, _SUFFIX, _MIDDLE)
    )
    return [
        tokenizer.bos_id,
        before,
        *tokenizer.encode(prefix, control_tokens=False),
        between,
        *tokenizer.encode(suffix, control_tokens=False),
        behind,
    ]


def fill_in_middle_stops(tokenizer: Tokenizer) -> list[int]:
    """Returns the tokens that end such an answer, as far as the tokenizer has them."""
    names = _FILE_SEPARATOR, _PREFIX, _SUFFIX, _MIDDLE
    found = (_id(tokenizer, name) for name in names)
    return [token_id for token_id in found if token_id is not None]


def _required_id(tokenizer: Tokenizer, name: str) -> int:
    token_id = _id(tokenizer, name)
    if token_id is None:
        raise ValueError(
            f"The tokenizer has no {name}: this model cannot fill in the middle. "
            "CodeGemma was trained for it; use codegemma-2b or codegemma-7b."
        )
    return token_id


def _id(tokenizer: Tokenizer, name: str) -> int | None:
    """Returns the token of a name, be it a control token or a user-defined piece."""
    try:
        token_id = tokenizer.id(name)
    except ValueError:  # to this tokenizer it is text of several tokens
        return None
    return token_id if tokenizer.piece(token_id) == name else None
