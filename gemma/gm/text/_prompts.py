"""What people pass as a prompt becomes token ids."""

import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from gemma.gm.dialog import Conversation, Format, Image, render
from gemma.gm.text._tokenizer import Tokenizer

# Text (control tokens in it are read), token ids, or a conversation (what people wrote
# in it is text and nothing else).
Prompt: TypeAlias = str | Sequence[int] | Conversation


def as_batch(prompt: Prompt | Sequence[Prompt]) -> tuple[list[Prompt], bool]:
    """Returns the prompts, and whether a single one was given.

    Raises:
      TypeError: It is neither a prompt nor a sequence of them.
    """
    if isinstance(prompt, str | Conversation):
        return [prompt], True
    if not isinstance(prompt, Sequence | np.ndarray) or isinstance(prompt, bytes):
        raise TypeError(
            "A prompt is a str, token ids or a Conversation, or a sequence of these; "
            f"found {type(prompt).__name__}."
        )
    items: list[Any] = list(prompt)
    if items and isinstance(items[0], int | np.integer):
        return [items], True
    return items, False


def encode_prompt(
    prompt: Prompt,
    tokenizer: Tokenizer,
    format: Format,
    before: Sequence[int] = (),
) -> list[int]:
    """Returns the token ids of a prompt, which begin with `<bos>` if it was text.

    Args:
      prompt: A prompt.
      tokenizer: The tokenizer.
      format: How the family writes conversations down.
      before: Tokens that text and token ids follow. A conversation is always whole.

    Raises:
      ValueError: There are no token ids, or one is outside the vocabulary.
    """
    if isinstance(prompt, Conversation):
        return _encode_conversation(prompt, tokenizer, format)
    if isinstance(prompt, str):
        ids = tokenizer.encode(prompt)
        if before:
            return [*before, *ids]
        return ids if ids[:1] == [tokenizer.bos_id] else [tokenizer.bos_id, *ids]
    ids = [operator.index(token_id) for token_id in prompt]
    if not ids and not before:
        raise ValueError("A prompt of token ids is empty; it needs at least one.")
    for token_id in ids:
        if not 0 <= token_id < tokenizer.vocab_size:
            raise ValueError(
                f"Prompt has token id {token_id}, outside the vocabulary of "
                f"{tokenizer.vocab_size:,} tokens."
            )
    return [*before, *ids]


def _encode_conversation(
    conversation: Conversation, tokenizer: Tokenizer, format: Format
) -> list[int]:
    if any(isinstance(p, Image) for turn in conversation.turns for p in turn.parts):
        raise ValueError("The conversation has an image; this model reads text only.")
    return [
        token_id
        for segment in render(conversation, format).segments
        for token_id in tokenizer.encode(
            segment.text, control_tokens=segment.is_control
        )
    ]
