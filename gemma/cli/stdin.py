"""What stands on stdin, alone or behind the text of the command line."""

import io
import os
import select
import sys

from gemma.cli.errors import CommandError, say

# Pipes that others have left open give nothing, and have no end.
_PATIENCE_S = 10.0


def read_prompt(argument: str | None) -> str:
    """Returns the argument, an empty line and what is piped; or the one that there is.

    Raises:
      CommandError: It is not UTF-8, or there is none.
    """
    if argument is None or argument == "-" or not _is_piped():
        return read_text(argument)
    piped = read_text("-")
    # An empty stdin is that of cron and CI.
    parts = [read_text(argument), piped] if piped.strip() else [read_text(argument)]
    return "\n\n".join(parts)


def read_text(argument: str | None) -> str:
    """Returns the argument, or what stands on stdin if it is absent or `-`.

    Raises:
      CommandError: It is not UTF-8, or there is none.
    """
    if argument is not None and argument != "-":
        # Python hides bytes of the command line that are not UTF-8 in surrogates.
        return decode_text(os.fsencode(argument))
    if sys.stdin is None or (argument is None and sys.stdin.isatty()):
        raise CommandError(
            "There is no text.",
            hint="Give it in quotes behind the command, or through a pipe; with - it "
            "is read from the terminal.",
        )
    text = decode_text(sys.stdin.buffer.read())
    # As $(...) does: `echo` and editors add a line end that the model should not continue.
    return text.removesuffix("\n").removesuffix("\r")


def decode_text(data: bytes) -> str:
    """Returns the text that bytes of UTF-8 are.

    Raises:
      CommandError: They are not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CommandError(
            f"The text is not UTF-8: byte 0x{data[error.start]:02X} at offset "
            f"{error.start}.",
            hint="Convert it first: iconv -t UTF-8",
        ) from None


def _is_piped() -> bool:
    """Returns whether stdin is no terminal, and gives something or has an end."""
    if sys.stdin is None or sys.stdin.isatty():
        return False
    try:
        if select.select([sys.stdin.fileno()], [], [], _PATIENCE_S)[0]:
            return True
    except (io.UnsupportedOperation, OSError, ValueError):
        return True  # no pipe, or one of Windows, which cannot be asked
    say(
        f"warning: stdin gave nothing for {_PATIENCE_S:.0f} s and is left out. Where "
        "nothing is to come, add < /dev/null; to wait for it, pass - and no other text."
    )
    return False
