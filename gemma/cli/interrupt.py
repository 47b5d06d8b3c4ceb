"""Ctrl-C ends a command soon, whatever it is doing."""

import contextlib
import os
import signal
import socket
import threading
import time

from gemma.cli.errors import INTERRUPTED

# What an orderly end may take, such as the JSON of half an answer.
_PATIENCE_S = 0.4


def end_soon_at_ctrl_c() -> None:
    """Ends this process soon after Ctrl-C, if it does not end by itself.

    Python looks at signals between two of its own instructions: not while XLA compiles,
    and what is raised within some imports is lost.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
    threading.Thread(target=_end_at_signal, args=[reader], daemon=True).start()


def end_in_order_at_ctrl_c() -> None:
    """From now on, an end takes as long as it needs: there are files to clear away."""
    signal.set_wakeup_fd(-1)


def _end_at_signal(reader: socket.socket) -> None:
    while reader.recv(1) != bytes([signal.SIGINT]):
        pass
    time.sleep(_PATIENCE_S)
    with contextlib.suppress(OSError):
        os.write(2, b"\n")
    os._exit(INTERRUPTED)
