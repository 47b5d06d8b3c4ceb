"""Strict modes and shared fixtures.

JAX refuses silent promotions, and the shapes in annotations are checked at run time:
here only, never in users' programs.
"""

import dataclasses
import functools
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import hypothesis
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Before any of them is imported. Functions under jit are checked when they are traced,
# so this costs nothing in the calls that follow.
jaxtyping.install_import_hook(
    [
        "gemma.gm.kernels",
        "gemma.gm.math",
        "gemma.gm.nn",
        "gemma.gm.peft",
        "gemma.gm.text._decode",
        "gemma.gm.text._prefill",
        "gemma.gm.text._draw",
        "gemma.gm.text._penalties",
        "gemma.gm.vision",
        "gemma.gm.weights",
    ],
    # An int is a float, as PEP 484 has it.
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

from gemma import gm  # noqa: E402
from gemma.gm.kernels import _library  # noqa: E402

# `make sanitize` names a library that watches itself.
if "GEMMA_TEST_KERNELS" in os.environ:
    _library._PATH = Path(os.environ["GEMMA_TEST_KERNELS"])
    assert _library.available()

from gemma.gm.nn import (  # noqa: E402
    AttentionType,
    Output,
    RopeConfig,
    Transformer,
    TransformerConfig,
    gemma1_config,
    gemma2_config,
    gemma3_config,
)
from gemma.gm.typing import Params  # noqa: E402
from gemma.gm.weights import flatten, unflatten  # noqa: E402

# Programs that tests compile are kept between runs, away from those of users. Without
# JAX's limit of their size: it reads the whole folder for each program that is kept.
PROGRAMS = gm.hub.cache_dir() / "xla-tests"
jax.config.update("jax_compilation_cache_dir", str(PROGRAMS))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

# Examples differ in time: the first compiles what the others use.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

TOKENIZER = Path(__file__).parent / "data" / "tiny_tokenizer.model"
VOCAB_SIZE = 480  # rows of the tiny tokenizer
_LOCAL, _GLOBAL = AttentionType.LOCAL, AttentionType.GLOBAL

# Small in everything but kinds: MQA, GQA and MHA; heads that fill the width and heads
# that do not; windows shorter than any prompt; caps that bite; layers that end in the
# middle of the pattern.
TINY = {
    "gemma1_mqa": gemma1_config(
        num_layers=2, embed_dim=32, hidden_dim=48, num_heads=4, num_kv_heads=1,
        head_dim=8, vocab_size=VOCAB_SIZE, max_positions=64,
    ),
    "gemma1_mha_wide": gemma1_config(
        num_layers=1, embed_dim=24, hidden_dim=40, num_heads=3, num_kv_heads=3,
        head_dim=16, vocab_size=VOCAB_SIZE + 8, max_positions=64,
    ),
    "gemma2_gqa": gemma2_config(
        num_layers=3, embed_dim=32, hidden_dim=48, num_heads=4, num_kv_heads=2,
        head_dim=16, query_pre_attn_scalar=12, window=5, attn_softcap=2.0,
        final_softcap=4.0, vocab_size=VOCAB_SIZE, max_positions=64,
    ),
    "gemma3_mqa": gemma3_config(
        num_layers=7, embed_dim=16, hidden_dim=24, num_heads=2, num_kv_heads=1,
        head_dim=8, window=4, vocab_size=VOCAB_SIZE, max_positions=64,
    ),
    "gemma3_gqa_stretched": gemma3_config(
        num_layers=3, embed_dim=24, hidden_dim=40, num_heads=4, num_kv_heads=2,
        head_dim=16, query_pre_attn_scalar=6, window=6, vocab_size=VOCAB_SIZE + 16,
        attention_types=(_LOCAL, _GLOBAL, _LOCAL), max_positions=64,
        global_rope=RopeConfig(theta=1_000_000.0, factor=8.0),
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Tiny:
    """A tiny model with params under which logits differ from token to token."""

    name: str
    model: Transformer
    params: Params

    def apply(self, tokens, **options) -> Output:
        """Applies the model, compiled."""
        arrays = {k: v for k, v in options.items() if not isinstance(v, bool)}
        flags = {k: v for k, v in options.items() if isinstance(v, bool)}
        return _apply(self.model, tuple(flags.items()), self.params, tokens, arrays)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _apply(model, flags, params, tokens, arrays) -> Output:
    return model.apply({"params": params}, tokens, **arrays, **dict(flags))


@functools.cache
def make_tiny(name: str) -> Tiny:
    """Returns a model of `TINY`; the same one each time."""
    return dataclasses.replace(make_tiny_of(TINY[name]), name=name)


@functools.cache
def make_tiny_of(config: TransformerConfig) -> Tiny:
    """Returns a model of any config."""
    model = Transformer(config)
    return Tiny("tiny", model, vivid_params(model, jax.random.key(0)))


def vivid_params(model: Transformer, key: jax.Array) -> Params:
    """Returns random params of a size that keeps every part of the model awake.

    `init` makes weights of 0.02, under which tiny models say the same to any prompt,
    and norms of zero, which would hide that one was left out.
    """
    flat = flatten(model.init(key))
    keys = jax.random.split(key, len(flat))
    return unflatten(
        {path: _vivid(path, w, k) for (path, w), k in zip(flat.items(), keys)}  # noqa: B905
    )


def _vivid(path: str, weight: jax.Array, key: jax.Array) -> jax.Array:
    if path.endswith("norm") or path == "embedder/input_embedding":
        stddev = 0.3
    else:
        is_out = path.endswith("attn/o")
        fan_in = np.prod(weight.shape[1:] if is_out else weight.shape[-1:])
        stddev = 1.5 / float(np.sqrt(fan_in))
    return stddev * jax.random.normal(key, weight.shape)


def pytest_sessionstart(session):
    """Forgets programs that are a week old."""
    if hasattr(session.config, "workerinput"):
        return  # the first process has done it
    for path in PROGRAMS.glob("*"):
        if path.stat().st_mtime < time.time() - 7 * 24 * 3600:
            path.unlink(missing_ok=True)


@pytest.fixture(autouse=True, scope="module")
def _small_memory():
    """Gives programs back after each file: together they take many gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(7)


@pytest.fixture(scope="session")
def tiny_model():
    """A function from a name in `TINY` to a `Tiny`."""
    return make_tiny


@pytest.fixture(scope="session")
def tiny_of():
    """A function from a config to a `Tiny`."""
    return make_tiny_of


@pytest.fixture(scope="session", params=TINY)
def tiny(request) -> Tiny:
    """Each tiny model in turn."""
    return make_tiny(request.param)


@pytest.fixture(scope="session")
def random_params():
    """A function from a model and a key to params under which logits differ."""
    return vivid_params


@pytest.fixture(scope="session")
def random_tokens():
    """A function from a shape and a seed to tokens, control tokens left out."""

    def make(shape: tuple[int, ...], seed: int = 0) -> jax.Array:
        rng = np.random.default_rng(seed)
        return jnp.asarray(rng.integers(8, VOCAB_SIZE, shape), jnp.int32)

    return make


@pytest.fixture(scope="session")
def tiny_tokenizer() -> gm.text.Tokenizer:
    return gm.text.Tokenizer.from_path(TOKENIZER)


@pytest.fixture(scope="session")
def tiny_sampler(tiny_tokenizer):
    """A function from a name in `TINY` to a sampler with a cache of 48 tokens.

    Prompts go in by chunks of 8, so that most take several.
    """

    @functools.cache
    def make(name: str) -> gm.text.Sampler:
        tiny = make_tiny(name)
        return gm.text.Sampler(
            model=tiny.model,
            params=tiny.params,
            tokenizer=tiny_tokenizer,
            cache_length=48,
            prefill_chunk_length=8,
        )

    return make


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A function from a name in `TINY` to a Hugging Face folder with a tokenizer."""

    @functools.cache
    def make(name: str) -> Path:
        tiny = make_tiny(name)
        folder = tmp_path_factory.mktemp("folders") / name
        files = {"tokenizer.model": TOKENIZER.read_bytes()}
        gm.ckpts.save_model(folder, tiny.model, tiny.params, files=files)
        return folder

    return make


@pytest.fixture(scope="session")
def embedded_path() -> Path:
    """The GGUF file of Gemma 3 270M, in the cache that users have."""
    try:
        return gm.hub.embedded_checkpoint()
    except gm.hub.CheckpointNotFoundError as error:
        pytest.skip(f"the embedded model is not installed: {error}")


_ASK_LLAMA = """
import json, sys
from llama_cpp import Llama
llama = Llama(sys.argv[1], n_ctx=64, n_threads=2, verbose=False)
asked = llama.tokenize(sys.argv[2].encode(), add_bos=True)
made = llama.generate(asked, temp=0.0, repeat_penalty=1.0)
answered = [token for token, _ in zip(made, range(int(sys.argv[3])))]
print(json.dumps([asked, answered, llama.detokenize(answered).decode()]))
"""


class LlamaAnswer(NamedTuple):
    """The ids of a prompt and of its greedy answer in llama.cpp, and the answer."""

    asked: list[int]
    answered: list[int]
    text: str


@pytest.fixture(scope="session")
def ask_llama() -> Callable[[Path, str, int], LlamaAnswer]:
    """Asks llama.cpp, which lives in an environment of its own, about a GGUF file."""
    if "GEMMA_LLAMA_PYTHON" not in os.environ:
        pytest.skip("GEMMA_LLAMA_PYTHON names no Python: see `make llama`")

    def ask(path: Path, prompt: str, num_tokens: int) -> LlamaAnswer:
        command = [os.environ["GEMMA_LLAMA_PYTHON"], "-c", _ASK_LLAMA]
        command += [str(path), prompt, str(num_tokens)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return LlamaAnswer(*json.loads(done.stdout))

    return ask


@pytest.fixture(scope="session")
def embedded_tokenizer(embedded_path) -> gm.text.Tokenizer:
    return gm.text.Tokenizer.from_path(embedded_path)


@pytest.fixture(scope="session")
def embedded_sampler(embedded_path, embedded_tokenizer) -> gm.text.Sampler:
    # float32: kernels round activations to 8 bits, and transformers does not.
    model, params = gm.ckpts.load_model(embedded_path, dtype=jnp.float32)
    return gm.text.Sampler(
        model=model, params=params, tokenizer=embedded_tokenizer, cache_length=512
    )
