"""Programs for several prompts side by side are kept on disk too."""

import shutil
from pathlib import Path

import jax
import pytest

from gemma import gm
from gemma.gm.text import Constraint, Sampler, Sampling, _programs
from gemma.gm.text._programs import StoredProgram

pytestmark = pytest.mark.slow
TOKENIZER = Path(__file__).parents[2] / "data" / "tiny_tokenizer.model"
PROMPTS = ["the quick brown", "The rain is on the roof", "x"]
OPTIONS = {"max_new_tokens": 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, random_params):
    """A random model in a folder."""
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
        max_positions=64,
    )
    model = gm.nn.Transformer(config)
    folder = tmp_path_factory.mktemp("batches") / "tiny"
    gm.ckpts.save_model(folder, model, random_params(model, jax.random.key(1)))
    shutil.copy(TOKENIZER, folder / "tokenizer.model")
    return folder


@pytest.fixture
def load(folder, monkeypatch):
    """A function that loads the model, with a folder of programs of its own."""
    monkeypatch.setattr(_programs.hub, "cache_dir", lambda: folder.parent / "cache")
    return lambda: Sampler.from_pretrained(folder)


@pytest.mark.parametrize(
    "options",
    [{}, {"sampling": Sampling(temperature=1.0), "rng": 3}],
    ids=["greedy", "drawn"],
)
def test_a_batch_is_answered_as_its_prompts_are(load, options):
    sampler = load()
    alone = [
        sampler.sample(prompt, **OPTIONS | options | {"rng": 3 + row})
        for row, prompt in enumerate(PROMPTS)
    ]
    assert sampler.sample(PROMPTS, **OPTIONS | options) == alone


def test_a_second_start_compiles_nothing_for_a_batch(load, monkeypatch):
    answers = load().sample(PROMPTS, **OPTIONS)
    monkeypatch.setattr(StoredProgram, "compile", lambda self: pytest.fail("compiled"))
    assert load().sample(PROMPTS, **OPTIONS) == answers


def test_a_batch_goes_on_and_matches(load):
    sampler = load()
    output = sampler.sample(PROMPTS, return_state=True, **OPTIONS)
    more = sampler.sample(PROMPTS, last_state=output.state, **OPTIONS)
    assert len(more) == len(PROMPTS)
    choice = Constraint.choice(["yes", "no"])
    assert set(sampler.sample(PROMPTS, constraint=choice)) <= {"yes", "no"}
