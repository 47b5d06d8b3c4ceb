"""What the model wrote -> its turn."""

from gemma.gm.dialog._conversation import Turn
from gemma.gm.dialog._formats import Format


def parse_answer(text: str, format: Format) -> Turn:
    r"""Returns the turn in which the model said this.

    What follows the first end-of-turn tag is dropped, and the rest trimmed as `render`
    trims it: rendering the turn and parsing it again gives the same turn.

    Args:
        text: What the model wrote after its header, with or without the tag.
        format: How the family writes.

    Example:
        >>> from gemma.gm.dialog import GEMMA3
        >>> parse_answer("Hello!\n<end_of_turn>\n", GEMMA3).text
        'Hello!'
    """
    answer, _, _ = text.partition(format.end_of_turn)
    return Turn.model(answer.strip())
