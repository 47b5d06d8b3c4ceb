"""How each family writes a conversation down: one table of data.

References: the chat templates published with the checkpoints (`chat_template` in
tokenizer_config.json) and Google's "Gemma formatting and system instructions".
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """The tags and rules of one family's prompts.

    Attributes:
        name: The family, as people call it.
        bos: The token that every prompt starts with.
        start_of_turn: The tag before the name of who speaks.
        end_of_turn: The tag after what was said; the model ends its answers with it.
        user_name: The name written for the user.
        model_name: The name written for the model.
        has_system: Whether a system text may stand before the first user turn.
        after_system: What is written between the two.
        image_placeholder: The tag written where an image stands, which also opens it;
            empty if none may.
        end_of_image: The tag that closes it.
    """

    name: str
    bos: str = "<bos>"
    start_of_turn: str = "<start_of_turn>"
    end_of_turn: str = "<end_of_turn>"
    user_name: str = "user"
    model_name: str = "model"
    has_system: bool = False
    after_system: str = "\n\n"
    image_placeholder: str = ""
    end_of_image: str = ""


GEMMA1 = Format(name="Gemma 1")
GEMMA2 = replace(GEMMA1, name="Gemma 2")
GEMMA3 = replace(
    GEMMA1,
    name="Gemma 3",
    has_system=True,
    image_placeholder="<start_of_image>",
    end_of_image="<end_of_image>",
)

_FORMATS = {"gemma": GEMMA1, "gemma2": GEMMA2, "gemma3": GEMMA3}


def format_for(family: str) -> Format:
    """Returns the format of a family: "gemma", "gemma2" or "gemma3".

    Raises:
        ValueError: The family has no chat format here.

    Example:
        >>> format_for("gemma3").has_system
        True
    """
    if family not in _FORMATS:
        raise ValueError(
            f"No chat format for {family!r}. There is one for: {', '.join(_FORMATS)}."
        )
    return _FORMATS[family]
