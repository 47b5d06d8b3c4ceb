"""Ctrl-C while an answer is made."""

import signal
from types import FrameType
from typing import Self


class CtrlC:
    """Stops an answer between two tokens, where all is in order.

    Until `waits` is set, or when it is pressed once more, Ctrl-C raises
    KeyboardInterrupt at once: reading a long prompt takes a while. It changes as keys are
    pressed; outside of `with`, Ctrl-C does what it did before.

    Attributes:
      waits: Whether somebody looks at `was_pressed` soon.
      was_pressed: Whether it was pressed.
    """

    def __init__(self):
        self.waits = False
        self.was_pressed = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        is_first, self.was_pressed = not self.was_pressed, True
        if not (self.waits and is_first):
            raise KeyboardInterrupt
