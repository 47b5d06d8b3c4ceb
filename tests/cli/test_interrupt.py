"""Ctrl-C ends a command, even where Python does not hear it."""

import signal
import subprocess
import time

import pytest

# What is raised is lost, as within some imports.
DEAF = """
import signal, time
signal.signal(signal.SIGINT, lambda *_: None)
from gemma.cli.interrupt import end_in_order_at_ctrl_c, end_soon_at_ctrl_c
end_soon_at_ctrl_c()
{order}
print("begun", flush=True)
time.sleep(2)
"""


@pytest.fixture
def deaf(start_gemma):
    """A function that starts a process that goes on for two seconds after Ctrl-C."""

    def start(order: str = "") -> tuple[subprocess.Popen, float]:
        process = start_gemma(code=DEAF.format(order=order))
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGINT)
        return process, time.monotonic()

    return start


@pytest.mark.slow
def test_ctrl_c_is_heard_while_something_else_computes(deaf):
    process, begin_s = deaf()
    assert process.wait(10) == 130
    assert time.monotonic() - begin_s < 1.5


@pytest.mark.slow
def test_an_end_in_order_takes_its_time(deaf):
    process, _ = deaf("end_in_order_at_ctrl_c()")
    assert process.wait(10) == 0
