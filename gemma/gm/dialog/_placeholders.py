"""A text with placeholders, and images -> a turn of the user."""

from collections.abc import Sequence

from gemma.gm.dialog._conversation import Image, Part, Text, Turn
from gemma.gm.dialog._formats import Format


def fill_placeholders(text: str, images: Sequence[object], format: Format) -> Turn:
    r"""Returns what a user says who put a placeholder where each image belongs.

    Args:
        text: Words and placeholders.
        images: Sources of the images; see `Image`.
        format: How the family writes.

    Raises:
        ValueError: There are more or fewer images than placeholders.

    Example:
        >>> from gemma.gm.dialog import GEMMA3
        >>> turn = fill_placeholders("Who? <start_of_image>", ["me.png"], GEMMA3)
        >>> turn.parts
        (Text(text='Who? '), Image(source='me.png'))
    """
    tag = format.image_placeholder
    texts = text.strip().split(tag) if tag else [text]
    if len(texts) - 1 != len(images):
        raise ValueError(
            f"The prompt has {len(texts) - 1} image placeholders and {len(images)} "
            f"images came with it. Write {tag} where each image belongs."
            if tag
            else f"{format.name} does not read images, and {len(images)} came."
        )
    if not images:
        return Turn.user(text)
    parts: list[Part] = [Text(texts[0], is_verbatim=True)]
    for image, after in zip(images, texts[1:], strict=True):
        parts += [Image(image), Text(after, is_verbatim=True)]
    return Turn.user(*(part for part in parts if part != Text("", is_verbatim=True)))
