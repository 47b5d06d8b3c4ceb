"""What is said of names that DeepMind's library has and this one has not."""

import functools
import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import gemma
from gemma import gm
from gemma.gm._elsewhere import ELSEWHERE

DOCS = Path(__file__).parents[2] / "docs"


def load_writer():
    spec = importlib.util.spec_from_file_location("names", DOCS / "write_names.py")
    assert spec is not None
    assert spec.loader is not None
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    return writer


def test_the_page_has_all_names():
    """`python docs/write_names.py` writes them anew."""
    writer = load_writer()
    assert writer.current_page() == writer.PAGE.read_text()
    assert len(ELSEWHERE) >= 100


@pytest.mark.parametrize("name", ELSEWHERE)
def test_no_such_name_is_here(name):
    """Where one is added, its sentence must go."""
    path = name.replace("gm.", "gemma.gm.", 1) if name.startswith("gm.") else name
    _, *parts = path.split(".")
    with pytest.raises((AttributeError, ImportError)):
        functools.reduce(getattr, parts, gemma)
    with pytest.raises(ImportError):
        importlib.import_module(path)


@pytest.mark.parametrize(
    ("module", "name", "told"),
    [
        ("gemma.gm.nn", "LoRA", "Adapters are not here yet"),
        ("gemma.gm", "data", "see the guide on fine-tuning"),
        ("gemma.gm.ckpts", "SkipLoRA", "gm.ckpts.load_params"),
        ("gemma.gm.text", "Gemma4Sampler", "gm.text.Sampler, for Gemma 1, 2 and 3"),
        ("gemma.gm.losses", "DpoLoss", "Not here yet"),
        ("gemma.gm.math", "count_consecutive", "gm.math.ends_of_runs"),
        ("gemma.gm.tools", "McpToolHandler", "gm.tools.McpTools"),
        ("gemma.peft", "LoRAEinsum", "Adapters are not here yet"),
        ("gemma.gm.peft", "split_params", "Adapters are not here yet"),
        ("gemma.params", "load_metadata", "gm.ckpts.load_config"),
        ("gemma.sampler", "SamplingState", "gm.text.State"),
        ("gemma.transformer", "GEMMA3_ATTENTION_PATTERN", "gm.nn.gemma3_config"),
        ("gemma", "nn", "after from gemma import gm"),
        ("gemma", "diffusion", "Gemma 1, 2 and 3 are here"),
    ],
)
def test_errors_say_what_to_use(module, name, told):
    found = importlib.import_module(module)
    with pytest.raises(AttributeError, match=f"{module} has no '{name}'.") as info:
        getattr(found, name)
    assert told in str(info.value)
    assert not hasattr(found, name)


def test_names_of_nobody():
    with pytest.raises(AttributeError, match=r"gemma\.gm\.nn has no 'Nothing'\.$"):
        _ = gm.nn.Nothing
    with pytest.raises(AttributeError, match=r"gemma\.gm has no 'x'\. It has: ckpts, "):
        _ = gm.x


@pytest.mark.parametrize(
    "line",
    [
        "import gemma.gm as gm; gm.typing.Params",
        "from gemma import gm; gm.typing.Cache",
        "from gemma.gm.typing import Params",
        "from gemma import peft; peft.quantize",
        "import gemma.peft; from gemma.gm import peft; peft.dequantize",
    ],
)
def test_modules_in_a_fresh_process(line):
    subprocess.run([sys.executable, "-c", line], check=True)
