"""What can be wrong with a checkpoint."""

# Of a message: several paths and names of tensors.
_MAX_LENGTH = 2000


class CheckpointError(ValueError):
    """A checkpoint that cannot be read: says which file, which tensor, what is wrong.

    In one line that fits a screen, whatever a damaged file takes for a name.
    """

    def __init__(self, message: str):
        shown = " ".join(_shortened(message).splitlines())
        super().__init__("".join(map(_printable, shown)))


def _shortened(message: str) -> str:
    if len(message) <= _MAX_LENGTH:
        return message
    half = _MAX_LENGTH // 2
    return f"{message[:half]} [...] {message[-half:]}"


def _printable(letter: str) -> str:
    """Returns a letter, or its code where a terminal would do something else with it."""
    return letter if letter.isprintable() else ascii(letter)[1:-1]
