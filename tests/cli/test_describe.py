import io
import json
import sys

import pytest

from gemma.gm import kernels
from gemma.gm.nn import CATALOG


@pytest.fixture
def described(gemma):
    """A function that gives the object of `gemma describe --json`."""

    def call(*args):
        outcome = gemma("describe", "--json", *args)
        assert (outcome.code, outcome.stderr) == (0, "")
        return json.loads(outcome.stdout)

    return call


def test_a_name_of_the_catalog_needs_no_checkpoint(described):
    found = described("Gemma3_270M")
    # As the released checkpoint has it.
    assert found["parameters"] == {
        "total": 268_098_176,
        "embedding": 167_772_160,
        "vision": 0,
        "rest": 100_326_016,
    }
    assert found["weights_bytes"] == {
        "float32": 1_072_392_704,
        "bfloat16": 536_196_352,
        "int8": 268_098_176,
        "int4": 134_049_088,
    }
    assert found["disk"] is None


def test_local_layers_keep_their_window_only(described):
    # 3 global layers, 15 that keep 512 tokens; keys and values of one head of 256.
    slots = {"1024": 3 * 1024 + 15 * 512, "32768": 3 * 32_768 + 15 * 512}
    cache = described("Gemma3_270M")["cache_bytes"]
    for length, count in slots.items():
        assert cache[length] == {
            "float32": 2 * 4 * 256 * count,
            "bfloat16": 2 * 2 * 256 * count,
        }


@pytest.mark.parametrize(
    ("name", "lengths"),
    [
        ("Gemma2_2B", ["1024", "4096", "8192"]),
        ("Gemma3_270M", ["1024", "4096", "8192", "32768"]),
        ("Gemma3_4B", ["1024", "4096", "8192", "32768", "131072"]),
    ],
)
def test_the_longest_context_is_what_the_model_was_trained_for(
    described, name, lengths
):
    assert list(described(name)["cache_bytes"]) == lengths


@pytest.mark.parametrize("name", CATALOG)
def test_sizes_are_those_of_the_config(described, name):
    sizes, config = described(name)["config"], CATALOG[name]
    assert sizes["family"] == config.family
    assert sizes["embed_dim"] == config.embed_dim
    assert sizes["attention"] == [c.attention_type.value for c in config.layers]
    assert sizes["final_softcap"] == config.final_softcap


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Gemma1_2B", "Layers\t18: all global"),
        ("Gemma2_2B", "Layers\t26: 13 times (1 local, 1 global)"),
        ("Gemma3_1B", "Layers\t26: 4 times (5 local, 1 global), 2 local"),
        ("Gemma1_2B", "Window\tnone"),
        ("Gemma2_2B", "Softcaps\t50 attention, 30 logits"),
        ("Gemma3_4B", "RoPE\t1,000,000 global (stretched by 8) and 10,000 local"),
        ("Gemma3_4B", "Eyes\t896 x 896 pixels become 256 tokens"),
        ("Gemma3_4B", "bfloat16\t2\t8.60 GB"),
        ("Gemma3_4B", "int4\t0.5\tabout 2.78 GB"),
    ],
)
def test_a_pipe_gets_plain_lines(gemma, name, line):
    outcome = gemma("describe", name)
    assert line in outcome.stdout.splitlines()
    assert outcome.stdout.isascii()


def test_a_checkpoint_on_disk(described, tiny_checkpoint):
    found = described("--model", tiny_checkpoint)
    size = (tiny_checkpoint / "model.safetensors").stat().st_size
    assert found == described(tiny_checkpoint)
    assert found["disk"] == {"bytes": size, "format": "safetensors"}
    assert found["config"]["num_layers"] == 3


def test_the_model_is_given_once(gemma):
    outcome = gemma("describe", "Gemma3_4B", "--model", "Gemma3_1B")
    assert (outcome.code, outcome.stdout) == (2, "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("name", CATALOG)
def test_tables_fit_80_columns(gemma, monkeypatch, name):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    assert gemma("describe", name).code == 0
    lines = terminal.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("─" in line for line in lines)
    assert not any("…" in line for line in lines)  # nothing was cut


@pytest.mark.embedded
def test_the_formats_of_a_gguf_are_named(described, embedded_path):
    assert described()["disk"] == {
        "bytes": embedded_path.stat().st_size,
        "format": "GGUF (F32, Q4_K, Q5_0, Q6_K, Q8_0)",
    }


def test_system_says_what_was_built(described, gemma):
    found = described("--system")
    assert found["kernels"] == kernels.instruction_set()
    assert found["devices"]
    assert gemma("describe", "--system", "Gemma3_4B").code == 2
