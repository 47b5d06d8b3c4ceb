import json

import pytest

from gemma import __version__
from gemma.cli.stopwatch import Stopwatch

SHORT = ["--prompt-tokens", "16", "--new-tokens", "4", "--repeats", "2"]


@pytest.mark.slow
def test_json_has_exactly_these_keys(gemma, tiny_checkpoint):
    outcome = gemma("bench", "-m", tiny_checkpoint, *SHORT, "--json")
    found = json.loads(outcome.stdout)
    assert set(found) == {
        "load_s",
        "first_run_s",
        "prefill_tokens_per_s",
        "decode_tokens_per_s",
        "weight_bytes",
        "peak_rss_bytes",
        "machine",
        "versions",
    }
    assert set(found["machine"]) == {
        "cpu", "kernels", "cores", "memory_bytes", "platform",
    }  # fmt: skip
    assert found["versions"]["gemma"] == __version__
    assert found["prefill_tokens_per_s"] > 0
    assert found["decode_tokens_per_s"] > 0
    assert found["first_run_s"] >= 0
    assert (outcome.code, outcome.stderr) == (0, "")


@pytest.mark.slow
def test_a_table_for_people(gemma, tiny_checkpoint):
    lines = gemma("bench", "-m", tiny_checkpoint, *SHORT).stdout.splitlines()
    assert {"Load", "First run, beyond", "Prefill", "Decode", "CPU", "jaxlib"} <= {
        line.split("\t")[0] for line in lines
    }


@pytest.mark.slow
def test_streams_run_side_by_side(gemma, tiny_checkpoint):
    outcome = gemma("bench", "-m", tiny_checkpoint, *SHORT, "--streams", "3", "--json")
    assert json.loads(outcome.stdout)["decode_tokens_per_s"] > 0


def test_a_rate_can_begin_later():
    watch = Stopwatch()
    watch.marks_s = [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
    assert watch.rate_after(2) == 2.0
    assert watch.rate_after(6) is None


@pytest.mark.slow
def test_a_prompt_that_does_not_fit_is_an_error(gemma, tiny_checkpoint):
    outcome = gemma("bench", "-m", tiny_checkpoint, "--cache-length", "8", *SHORT)
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "the cache holds 8" in outcome.stderr


@pytest.mark.parametrize(
    "option", ["--prompt-tokens", "--new-tokens", "--streams", "--repeats"]
)
def test_counts_have_a_least(gemma, option):
    outcome = gemma("bench", option, "0")
    assert (outcome.code, outcome.stdout) == (2, "")


def test_a_stopwatch_marks_each_item():
    watch = Stopwatch()
    assert list(watch.watch("abc")) == ["a", "b", "c"]
    assert 0 <= watch.first_s <= watch.total_s
    assert len(watch.marks_s) == 3


def test_one_item_has_no_rate():
    watch = Stopwatch()
    list(watch.watch("a"))
    assert watch.rate is None


@pytest.mark.slow
def test_a_prompt_beyond_all_memory_is_not_made(gemma, tiny_checkpoint):
    args = "--prompt-tokens", 10**12, "--cache-length", 64
    outcome = gemma("bench", "-m", tiny_checkpoint, *args)
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "does not fit: the cache holds 64" in outcome.stderr
