"""The one error of this room."""


class CheckpointNotFoundError(FileNotFoundError):
    """A model's files could not be found, fetched or written.

    Attributes:
        hint: What to do about it; the message itself says what happened.
    """

    def __init__(self, message: str, hint: str):
        super().__init__(message)
        self.hint = hint
        self.add_note(f"hint: {hint}")

    def __reduce__(self):
        return type(self), (str(self), self.hint)
