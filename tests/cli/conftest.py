"""The command line, called in this process or as one of its own."""

import dataclasses
import io
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from gemma import gm
from gemma.cli.main import run

TOKENIZER = Path(__file__).parent.parent / "data" / "tiny_tokenizer.model"
_START = "from gemma.cli.main import main; main()"


@dataclasses.dataclass(frozen=True)
class Outcome:
    code: int
    stdout: str
    stderr: str


class Stdin(io.TextIOWrapper):
    """Bytes on stdin, from a pipe or from a terminal."""

    def __init__(self, data: bytes, is_terminal: bool):
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.fixture
def gemma(capsys, monkeypatch):
    """A function that runs a command line in this process."""

    def call(*args: str | Path, stdin: bytes = b"", terminal: bool = False) -> Outcome:
        monkeypatch.setattr(sys, "stdin", Stdin(stdin, terminal))
        capsys.readouterr()
        code = run([str(arg) for arg in args])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def start_gemma():
    """A function that starts a command line as a process, all its streams in pipes."""
    started = []

    def start(*args: str | Path, code: str = _START, **options) -> subprocess.Popen:
        pipe = subprocess.PIPE
        streams = {"stdin": pipe, "stdout": pipe, "stderr": pipe} | options
        command = [sys.executable, "-c", code, *map(str, args)]
        started.append(subprocess.Popen(command, **streams))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory, random_params) -> Path:
    """A random model that talks for thousands of tokens, in a Hugging Face folder."""
    tokenizer = gm.text.Tokenizer.from_path(TOKENIZER)
    config = gm.nn.gemma3_config(
        num_layers=3,
        embed_dim=16,
        hidden_dim=24,
        num_heads=2,
        num_kv_heads=1,
        head_dim=8,
        window=8,
        vocab_size=tokenizer.vocab_size,
        max_positions=8192,
    )
    model = gm.nn.Transformer(config)
    folder = tmp_path_factory.mktemp("cli") / "tiny"
    gm.ckpts.save_model(folder, model, random_params(model, jax.random.key(1)))
    shutil.copy(TOKENIZER, folder / "tokenizer.model")
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint_sampler(tiny_checkpoint) -> gm.text.Sampler:
    return gm.text.Sampler.from_pretrained(tiny_checkpoint)
