"""gemma chat as a person sees it: through a pseudo-terminal, key by key."""

import io
import json
import os
import pty
import re
import subprocess
import termios

import pytest

from gemma.gm.text import ChatSampler

fdpexpect = pytest.importorskip("pexpect.fdpexpect")

pytestmark = pytest.mark.slow

# The terminal whose keys send it signals is the one at its stdin.
START = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from gemma.cli.main import main
main()
"""
FIRST, SECOND = "the quick brown", "The rain is on the roof"
ENTER, ALT_ENTER, TAB, UP = "\r", "\x1b\r", "\t", "\x1b[A"
CTRL_C, CTRL_D = "\x03", "\x04"
WHERE_IS_THE_CURSOR, IN_THE_FIRST_LINE = "\x1b[6n", "\x1b[1;1R"
ERASE_LINE = "\x1b[2K"
# So that the tiny model, whose <eos> and <end_of_turn> these are, talks until it is cut.
ENDLESS = "/params logit_bias=1:-inf,6:-inf max_new_tokens=7000"


class Terminal:
    """A terminal of 80 columns in which `gemma chat` runs."""

    def __init__(self, terminal: int, process: subprocess.Popen):
        self.child = fdpexpect.fdspawn(terminal, encoding="utf-8", timeout=60)
        self.process = process

    def status(self) -> str:
        """Waits for the prompt; returns the status line."""
        self.child.expect_exact(WHERE_IS_THE_CURSOR)
        self.child.send(IN_THE_FIRST_LINE)
        self.child.expect(r"tiny · .*cache ([\d,]+) / 8,192")
        return self.child.match[0]

    def cached(self) -> int:
        """Waits for the prompt; returns how many tokens the conversation has."""
        found = re.search(r"cache ([\d,]+)", self.status())
        return int(found[1].replace(",", ""))

    def type(self, *keys: str) -> None:
        """Presses keys."""
        self.child.send("".join(keys))

    def expect(self, words: str) -> None:
        """Waits until the words are shown."""
        self.child.expect_exact(words)

    def end(self) -> int:
        """Waits for the end; returns the exit code."""
        return self.process.wait(60)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    """Where programs are kept between the tests here, and the history of one."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def start(start_gemma, tiny_checkpoint, cache_dir, tmp_path):
    """A function that starts a conversation with the tiny model."""
    started = []

    def start_terminal(*options: str, **environment: str) -> Terminal:
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        known = {"GEMMA_CACHE_DIR": str(cache_dir), "TERM": "xterm", "NO_COLOR": "1"}
        process = start_gemma(
            *("chat", "-m", tiny_checkpoint, "--seed", 1),
            *("--cache-length", 8192, "-n", 12),
            *options,
            code=START,
            env=os.environ | known | environment,
            cwd=tmp_path,
            start_new_session=True,
            **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
        )
        os.close(theirs)
        started.append(Terminal(ours, process))
        return started[-1]

    yield start_terminal
    for terminal in started:
        terminal.child.close()
    (cache_dir / "chat-history").unlink(missing_ok=True)


def test_an_answer_comes_and_goes(start):
    terminal = start()
    assert terminal.cached() == 0
    terminal.type(FIRST, ENTER)
    status = terminal.status()
    assert "tok/s" in status
    assert "cache 0" not in status
    terminal.type("/undo", ENTER)
    terminal.expect(f"Taken back: {FIRST}")
    assert terminal.cached() == 0
    terminal.type("/exit", ENTER)
    assert terminal.end() == 0


def test_ctrl_c_stops_the_answer_and_not_the_program(start):
    terminal = start()
    terminal.status()
    terminal.type(ENDLESS, ENTER)
    terminal.status()
    terminal.type(FIRST, ENTER)
    terminal.expect("...")
    terminal.expect(ERASE_LINE)  # the first words take the place of the dots
    terminal.type(CTRL_C)
    terminal.expect("Stopped; what was said stays in the conversation.")
    assert 0 < terminal.cached() < 7000
    terminal.type(CTRL_D)
    assert terminal.end() == 0


@pytest.mark.parametrize(
    "keys",
    [
        [FIRST, "\\", ENTER, SECOND],
        [FIRST, ALT_ENTER, SECOND],
        [f"\x1b[200~{FIRST}\n{SECOND}\x1b[201~"],
    ],
    ids=["backslash", "Alt-Enter", "paste"],
)
def test_a_message_may_have_lines(start, tmp_path, keys):
    terminal = start()
    terminal.status()
    terminal.type(*keys, ENTER)
    terminal.status()
    terminal.type("/save talk.json", ENTER)
    terminal.expect("Saved to")
    assert f"{FIRST}\\n{SECOND}" in (tmp_path / "talk.json").read_text()


def test_ctrl_c_at_the_prompt_clears_the_line_and_then_says_how_to_leave(start):
    terminal = start()
    terminal.status()
    terminal.type("/nonsense", CTRL_C, CTRL_C)
    terminal.expect("Ctrl-D or /exit leaves.")
    terminal.status()
    terminal.type(CTRL_D)
    assert terminal.end() == 0


def test_tab_completes_commands_and_params(start):
    terminal = start()
    terminal.status()
    terminal.type("/par", TAB)
    terminal.expect("ams")
    terminal.type("max", TAB)
    terminal.expect("_new_tokens=")
    terminal.type("7", ENTER)
    terminal.expect("max_new_tokens      7")


def test_tab_completes_paths(start, tmp_path):
    (tmp_path / "nothing of note").write_text("")
    terminal = start()
    terminal.status()
    terminal.type("/load noth", TAB)
    terminal.expect("ing of note")
    terminal.type(ENTER)
    terminal.expect("nothing of note is not JSON")


def test_what_was_typed_is_there_the_next_time(start):
    terminal = start()
    terminal.status()
    terminal.type("/system the sea", ENTER)
    terminal.expect("System prompt: the sea")
    terminal.status()
    terminal.type(CTRL_D)
    terminal.end()
    terminal = start()
    terminal.status()
    terminal.type(UP, ENTER)
    terminal.expect("System prompt: the sea")


@pytest.mark.parametrize("no_color", ["1", ""])
def test_colours_are_a_matter_of_taste(start, no_color):
    terminal = start(NO_COLOR=no_color)
    terminal.child.logfile_read = io.StringIO()
    terminal.status()
    terminal.type("/nonsense", ENTER)
    terminal.status()
    shown = terminal.child.logfile_read.getvalue()
    has_colours = re.search(r"\x1b\[(?:\d+;)*(?:[39][0-7]|38;5;\d+)m", shown)
    assert bool(has_colours) == (not no_color)


def test_a_dumb_terminal_is_sent_nothing_but_text(start):
    terminal = start(TERM="dumb")
    terminal.expect("> ")
    terminal.type(FIRST, "\n", "/system\n")
    terminal.expect("There is no system prompt.")
    assert "\x1b" not in terminal.child.before
    terminal.type(CTRL_D)
    assert terminal.end() == 0


def test_over_pipes_an_answer_comes_before_the_next_message(
    start_gemma, tiny_checkpoint
):
    chat = ChatSampler.from_pretrained(tiny_checkpoint, multi_turn=True)
    args = ["chat", "-m", tiny_checkpoint, "-n", 2, "--temperature", 0]
    process = start_gemma(*args)
    for message in (FIRST, SECOND):
        process.stdin.write(f"{message}\n".encode())
        process.stdin.flush()
        expected = f"{chat.chat(message, max_new_tokens=2)}\n".encode()
        assert process.stdout.read(len(expected)) == expected
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (0, b"")
    assert b"\x1b" not in stderr


def test_plain_answers_are_as_the_model_wrote_them(start, tmp_path):
    terminal = start("--plain")
    terminal.status()
    terminal.child.logfile_read = io.StringIO()
    terminal.type(FIRST, ENTER)
    terminal.status()
    terminal.type("/save plain.json", ENTER)
    terminal.expect("Saved to")
    shown = terminal.child.logfile_read.getvalue().replace("\r\n", "\n")
    saved = json.loads((tmp_path / "plain.json").read_text())
    answer = saved["messages"][-1]["content"]
    assert answer
    assert f"\n{answer}\n" in shown
