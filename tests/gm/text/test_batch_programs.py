"""Programs for several prompts side by side are kept on disk too."""

from pathlib import Path

import pytest

from gemma.gm.text import Constraint, Sampler, Sampling, _programs
from gemma.gm.text._programs import StoredProgram

pytestmark = pytest.mark.slow
TOKENIZER = Path(__file__).parents[2] / "data" / "tiny_tokenizer.model"
PROMPTS = ["the quick brown", "The rain is on the roof", "x"]
OPTIONS = {"max_new_tokens": 6}


@pytest.fixture(scope="module")
def folder(tiny_folder):
    return tiny_folder("gemma3_mqa")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


@pytest.fixture
def load(folder, cache, monkeypatch):
    """A function that loads the model, with a folder of programs of its own."""
    monkeypatch.setattr(_programs.hub, "cache_dir", lambda: cache)
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
