"""Reading ahead changes when things are done, never what comes out."""

import subprocess
import sys

import jax.numpy as jnp
import pytest

from gemma import gm
from gemma.gm import kernels
from gemma.gm.text import Sampler, _reading, read_ahead

needs_library = pytest.mark.skipif(
    not kernels.available(), reason="the kernels were not built: no C++ compiler"
)
PROMPT = "The capital of France is"


@pytest.mark.embedded
@pytest.mark.slow
def test_answers_are_those_of_the_name(embedded_path):
    ahead = Sampler.from_pretrained(read_ahead(embedded_path), cache_length=64)
    named = Sampler.from_pretrained(embedded_path, cache_length=64)
    options = {"max_new_tokens": 12}
    assert ahead.generate(PROMPT, **options) == named.generate(PROMPT, **options)
    # The cache that comes back after an answer is the one that it was made with.
    cache = ahead._caches.take(1, lambda: pytest.fail("no cache came back"))
    assert cache["layer_0"]["k"].dtype == jnp.float16


@needs_library
@pytest.mark.embedded
def test_weights_are_those_of_the_file(embedded_path, monkeypatch):
    monkeypatch.setattr(_reading, "_expects_accelerator", lambda: False)
    ahead, later = read_ahead(embedded_path), gm.ckpts.GgufFile(embedded_path)
    assert ahead.gguf is not None
    for name in list(later.tensors)[:9]:
        if later.packed_kind(name) is None:
            assert ahead.gguf.packed_ahead(name) is None
            continue
        assert ahead.gguf.packed_ahead(name) is not None
        assert (ahead.gguf.read_packed(name) == later.read_packed(name)).all()
    outline = ahead.head_outline()
    assert outline is not None
    assert outline.any()
    ahead.stop()


@pytest.mark.embedded
def test_other_weights_are_not_packed(embedded_path, monkeypatch):
    reading = read_ahead(embedded_path, dtype="float32")
    assert reading.head_outline() is None
    monkeypatch.setenv("JAX_PLATFORMS", "tpu")
    assert read_ahead(embedded_path).head_outline() is None


@pytest.mark.embedded
@pytest.mark.slow
def test_what_was_stopped_is_read_when_it_is_needed(embedded_path):
    reading = read_ahead(embedded_path)
    reading.stop()
    assert reading.gguf is not None
    for name in reading.gguf.tensors:
        if reading.gguf.packed_kind(name) is not None:
            assert reading.gguf.read_packed(name).any()


@pytest.mark.embedded
@pytest.mark.slow
def test_it_needs_no_jax(embedded_path):
    code = (
        "import sys; from gemma.gm.text import read_ahead\n"
        f"reading = read_ahead({str(embedded_path)!r})\n"
        "reading.tokenizer.result(), reading.head_outline()\n"
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_file_is_said_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_ahead(tmp_path / "gone.gguf")
