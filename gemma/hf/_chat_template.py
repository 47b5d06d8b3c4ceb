"""Conversations as text, in the format that a vocabulary was made for."""

from collections.abc import Mapping, Sequence
from typing import Any

from gemma.gm.dialog import GEMMA2, GEMMA3, Conversation, render
from gemma.gm.text import Tokenizer

_KNOWN = ("padding", "truncation", "max_length", "return_tensors", "padding_side")
_WAYS = {
    "tools": "gm.text.ToolSampler calls tools",
    "chat_template": "gm.dialog.Format says how a family writes",
}


def write_conversations(
    tokenizer: Tokenizer, conversation: Sequence[Any], *, add_generation_prompt: bool
) -> Any:
    """Returns the text of a conversation, or of each of several.

    Args:
      tokenizer: Its control tokens tell the format.
      conversation: Messages, or a list of such lists.
      add_generation_prompt: Whether to open an answer.

    Raises:
      ValueError: The vocabulary has no turns, or the turns do not alternate.
    """
    if conversation and not isinstance(conversation[0], Mapping):
        return [
            write_conversations(
                tokenizer, messages, add_generation_prompt=add_generation_prompt
            )
            for messages in conversation
        ]
    names = tokenizer.control_tokens
    if GEMMA2.start_of_turn not in names:
        raise ValueError(
            f"The vocabulary has no {GEMMA2.start_of_turn}: it was made for a model that "
            "does not converse."
        )
    # The vocabulary of Gemma 1 and 2 has a tag that opens an image too, but none that
    # closes it.
    has_images = GEMMA3.end_of_image in names
    return render(
        Conversation.from_messages(conversation),
        GEMMA3 if has_images else GEMMA2,
        add_generation_prompt=add_generation_prompt,
    ).text


def refuse_other_templates(options: Mapping[str, Any]) -> None:
    """Raises TypeError for what transformers takes and the format leaves no room for."""
    for name, value in options.items():
        if name in _KNOWN or value is None:
            continue
        way = _WAYS.get(name, "gm.dialog.render writes conversations")
        raise TypeError(f"{name!r} has no equal here: {way}.")
