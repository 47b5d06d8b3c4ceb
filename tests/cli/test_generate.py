import contextlib
import dataclasses
import json
import os
import pty
import signal
import subprocess

import jax
import numpy as np
import pytest

from gemma import gm
from gemma.gm.ckpts import Strings
from gemma.gm.text import (
    PieceKind,
    Sampler,
    Sampling,
    Tokenizer,
    fill_in_middle_prompt,
    fill_in_middle_stops,
)

PROMPT = "the quick brown"
LONG = ["--cache-length", "40000", "-n", "39000"]
ENDLESS = ["--forbid", "<eos>", "--forbid", "<end_of_turn>", *LONG]


@pytest.fixture
def generate(gemma, tiny_checkpoint):
    """A function that runs `gemma generate` on the tiny model."""

    def call(*args, **options):
        return gemma("generate", "--model", tiny_checkpoint, "-n", 8, *args, **options)

    return call


@pytest.fixture
def expected(tiny_checkpoint_sampler):
    """A function that gives what the library answers."""

    def call(prompt=PROMPT, **options) -> gm.text.Generation:
        options = {"max_new_tokens": 8} | options
        return tiny_checkpoint_sampler.generate(prompt, **options)

    return call


def test_prints_what_the_sampler_says_and_nothing_else(generate, expected):
    outcome = generate(PROMPT)
    assert outcome.stdout == expected().text + "\n"
    assert (outcome.code, outcome.stderr) == (0, "")


@pytest.mark.parametrize("args", [[], ["-"]])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_reads_the_prompt_from_stdin(generate, expected, args, end):
    outcome = generate(*args, stdin=(PROMPT + end).encode())
    assert outcome.stdout == expected().text + "\n"


def test_json_is_one_object(generate, expected):
    outcome = generate(PROMPT, "--json")
    found, answer = json.loads(outcome.stdout), expected()
    timing = found.pop("timing")
    assert found == {
        "prompt": PROMPT,
        "text": answer.text,
        "token_ids": list(answer.token_ids),
        "finish_reason": answer.finish_reason,
    }
    assert set(timing) == {
        "load_s",
        "first_token_s",
        "total_s",
        "decode_tokens_per_s",
    }
    assert 0 < timing["first_token_s"] <= timing["total_s"]
    assert outcome.stderr == ""


def test_one_token_has_no_decode_rate(generate):
    timing = json.loads(generate(PROMPT, "--json", "-n", 1).stdout)["timing"]
    assert timing["decode_tokens_per_s"] is None


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_echo_begins_with_the_prompt(generate, expected, flags):
    stdout = generate(PROMPT, "--echo", *flags).stdout
    text = json.loads(stdout)["text"] if flags else stdout.removesuffix("\n")
    assert text == PROMPT + expected().text


def test_stop_and_forbid_reach_the_sampler(generate, expected, tiny_tokenizer):
    first, second = expected().token_ids[:2]
    forbid = tiny_tokenizer.piece(first)
    assert generate(PROMPT, "--forbid", forbid).stdout == (
        expected(forbidden_tokens=[forbid]).text + "\n"
    )
    stop = tiny_tokenizer.decode([second])
    assert generate(PROMPT, "--stop", stop).stdout == expected(stop=[stop]).text + "\n"


def test_a_seed_alone_draws_at_temperature_1(generate, expected):
    drawn = expected(sampling=Sampling(temperature=1.0), rng=5).text + "\n"
    assert generate(PROMPT, "--seed", 5).stdout == drawn
    assert drawn != expected().text + "\n"


def test_sampling_options_reach_the_sampler(generate, expected):
    sampling = Sampling(temperature=3.0, top_k=40, top_p=0.9, min_p=0.01)
    answer = expected(sampling=sampling, rng=4)
    drawn = ["--temperature", 3, "--top-k", 40, "--top-p", 0.9, "--min-p", 0.01]
    assert generate(PROMPT, *drawn, "--seed", 4).stdout == answer.text + "\n"


def test_temperature_0_stays_greedy(generate, expected):
    outcome = generate(PROMPT, "--temperature", 0, "--top-k", 3, "--seed", 5)
    assert outcome.stdout == expected().text + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bf16", "float32", "int8", "nf4"])
def test_weights_reach_the_sampler(generate, tiny_checkpoint, kind):
    dtype = {"bf16": "bfloat16"}.get(kind, kind)
    sampler = gm.text.Sampler.from_pretrained(tiny_checkpoint, dtype=dtype)
    expected = sampler.sample(PROMPT, max_new_tokens=8) + "\n"
    assert generate(PROMPT, "--weights", kind).stdout == expected


@pytest.mark.parametrize(
    "kind",
    ["as-stored", "float32", "bfloat16", "float16", "f32", "f16", "int4"],
)
def test_names_of_weights(generate, monkeypatch, kind):
    """The library is called with a dtype that it knows."""
    seen = []
    monkeypatch.setattr(
        gm.text.Sampler,
        "from_pretrained",
        lambda *_, dtype, **__: seen.append(dtype) or 1 / 0,
    )
    assert generate(PROMPT, "--weights", kind).code == 1
    assert seen == [{"f32": "float32", "f16": "float16"}.get(kind, kind)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--temperature", "nan"], "temperature is nan"),
        (["--temperature", "-1"], "temperature is -1.0"),
        (["--top-k", "0"], "top_k is 0"),
        (["--top-p", "0"], "top_p is 0.0"),
        (["--top-p", "1.5"], "top_p is 1.5"),
        (["--min-p", "2"], "min_p is 2.0"),
        (["-n", "0"], "max_new_tokens is 0"),
        (["--cache-length", "0"], "cache_length is 0"),
        (["-n", "-1"], "max_new_tokens is -1"),
        (["--forbid", "two tokens"], "'two tokens' is"),
        (["--stop", ""], "stop string is empty"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options_are_one_line(generate, options, words):
    outcome = generate(PROMPT, *options)
    assert (outcome.code, outcome.stdout) == (1, "")
    (error,) = outcome.stderr.splitlines()
    assert error.startswith("error: ")
    assert words in error


@pytest.mark.slow
def test_a_prompt_longer_than_the_cache_is_an_error(generate):
    outcome = generate(PROMPT, "--cache-length", 2)
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "the cache holds 2" in outcome.stderr


@pytest.mark.parametrize(
    ("args", "options", "words"),
    [
        ([""], {}, "The prompt is empty."),
        ([], {"stdin": b"\n"}, "The prompt is empty."),
        ([], {"terminal": True}, "There is no text."),
        ([], {"stdin": b"abc\xff"}, "not UTF-8: byte 0xFF at offset 3."),
        (["ab\udcff"], {}, "not UTF-8: byte 0xFF at offset 2."),
    ],
)
def test_bad_prompts_are_explained(generate, args, options, words):
    outcome = generate(*args, **options)
    assert (outcome.code, outcome.stdout) == (1, "")
    error, hint = outcome.stderr.splitlines()
    assert error.startswith("error: ")
    assert words in error
    assert hint.startswith("hint: ")


def test_ctrl_c_while_loading(generate, monkeypatch):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(gm.hub, "resolve", interrupted)
    outcome = generate(PROMPT)
    assert (outcome.code, outcome.stdout, outcome.stderr) == (130, "", "\n")


@pytest.mark.slow
def test_a_closed_pipe_ends_it_quietly(start_gemma, tiny_checkpoint):
    process = start_gemma(
        *("generate", "-m", tiny_checkpoint, PROMPT, *ENDLESS), stdin=subprocess.DEVNULL
    )
    assert process.stdout.read(5)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141


@pytest.mark.slow
def test_ctrl_c_in_mid_stream_ends_the_line(start_gemma, tiny_checkpoint):
    process = start_gemma(
        *("generate", "-m", tiny_checkpoint, PROMPT, *ENDLESS), stdin=subprocess.DEVNULL
    )
    assert process.stdout.read(5)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert stdout.endswith(b"\n")
    assert (process.returncode, stderr) == (130, b"")


def read_terminal(terminal: int) -> str:
    """Returns what was shown until the last program has left the terminal."""
    shown = b""
    with contextlib.suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as stream:
        while part := stream.read(4096):
            shown += part
    return shown.decode()


@pytest.mark.slow
def test_a_terminal_shows_how_fast_it_was(start_gemma, tiny_checkpoint):
    ours, theirs = pty.openpty()
    environment = os.environ | {"NO_COLOR": "1", "TERM": "xterm"}
    args = ["generate", "-m", tiny_checkpoint, PROMPT, *ENDLESS[:-1], "8"]
    process = start_gemma(
        *args, stdin=subprocess.DEVNULL, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = read_terminal(ours)
    stdout = process.stdout.read()
    assert "8 tokens · " in shown
    assert "tok/s" in shown
    assert "\x1b[3" not in shown  # a colour
    assert b"tok/s" not in stdout


FIM = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_separator|>"]
BETWEEN = "the gate ", " the old apple tree"
FIM_ARGS = ["--fim-prefix", BETWEEN[0], "--fim-suffix", BETWEEN[1]]


@pytest.fixture(scope="module")
def code_checkpoint(tmp_path_factory, random_params, tiny_tokenizer):
    """A random model whose vocabulary has what CodeGemma's has for filling in."""
    known = tiny_tokenizer.vocabulary
    added = np.full(len(FIM), PieceKind.CONTROL, np.uint8)
    vocabulary = dataclasses.replace(
        known,
        pieces=Strings.of([*known.pieces, *FIM]),
        scores=np.append(known.scores, np.zeros(len(FIM), np.float32)),
        kinds=np.append(known.kinds, added),
    )
    config = gm.nn.gemma1_config(
        num_layers=1, embed_dim=16, hidden_dim=24, num_heads=2, num_kv_heads=1,
        head_dim=8, vocab_size=len(vocabulary.pieces), max_positions=256,
    )  # fmt: skip
    model = gm.nn.Transformer(config)
    folder = tmp_path_factory.mktemp("cli") / "code"
    files = {"tokenizer.model": Tokenizer(vocabulary).model_bytes()}
    params = random_params(model, jax.random.key(2))
    gm.ckpts.save_model(folder, model, params, files=files)
    return folder


@pytest.fixture
def fill_in(gemma, code_checkpoint):
    """A function that runs `gemma generate` on the model of code."""

    def call(*args, **options):
        return gemma("generate", "-m", code_checkpoint, "-n", 8, *args, **options)

    return call


@pytest.fixture(scope="module")
def middle(code_checkpoint) -> str:
    """What the library writes between the texts."""
    sampler = Sampler.from_pretrained(code_checkpoint)
    prompt = fill_in_middle_prompt(sampler.tokenizer, *BETWEEN)
    stops = fill_in_middle_stops(sampler.tokenizer)
    return sampler.generate(prompt, max_new_tokens=8, stop_tokens=stops).text


@pytest.mark.slow
def test_fills_in_the_middle(fill_in, middle):
    outcome = fill_in(*FIM_ARGS)
    assert (outcome.code, outcome.stdout) == (0, middle + "\n")


@pytest.mark.slow
def test_one_side_of_the_middle_may_come_from_stdin(fill_in, middle):
    outcome = fill_in(*FIM_ARGS[:3], "-", stdin=f"{BETWEEN[1]}\n".encode())
    assert outcome.stdout == middle + "\n"


@pytest.mark.slow
def test_echo_prints_both_sides_of_the_middle(fill_in, middle):
    whole = middle.join(BETWEEN)
    assert fill_in(*FIM_ARGS, "--echo").stdout == whole + "\n"


@pytest.mark.slow
def test_json_names_both_sides_of_the_middle(fill_in, middle):
    found = json.loads(fill_in(*FIM_ARGS, "--json").stdout)
    assert (found["fim_prefix"], found["fim_suffix"]) == BETWEEN
    assert found["text"] == middle
    assert "prompt" not in found


@pytest.mark.slow
@pytest.mark.parametrize("token", FIM)
def test_a_token_of_fill_in_ends_the_middle(
    fill_in, code_checkpoint, monkeypatch, token
):
    """The sampler is made to draw it at once."""
    stream, end = Sampler.stream, Tokenizer.from_path(code_checkpoint).id(token)
    sampling = Sampling(logit_bias={end: 1e6})
    monkeypatch.setattr(
        Sampler,
        "stream",
        lambda self, prompt, **kw: stream(self, prompt, **kw | {"sampling": sampling}),
    )
    found = json.loads(fill_in(*FIM_ARGS, "--json").stdout)
    assert (found["token_ids"], found["finish_reason"]) == ([end], "stop")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (FIM_ARGS[:2], "need each other"),
        (FIM_ARGS[2:], "need each other"),
        ([PROMPT, *FIM_ARGS], "no other text"),
        (["--fim-prefix", "-", "--fim-suffix", "-"], "only one of the texts"),
    ],
    ids=["no suffix", "no prefix", "a prompt too", "both from stdin"],
)
def test_halves_of_a_middle_are_usage_errors(generate, args, words):
    outcome = generate(*args)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert words in outcome.stderr


def test_a_middle_of_nothing_is_an_error(generate):
    outcome = generate("--fim-prefix", "", "--fim-suffix", "")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "The prompt is empty." in outcome.stderr


@pytest.mark.slow
def test_a_model_that_cannot_fill_in_says_so(generate):
    outcome = generate(*FIM_ARGS)
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "CodeGemma was trained for it" in outcome.stderr


@pytest.mark.slow
@pytest.mark.embedded
def test_the_embedded_model_knows_france(start_gemma, embedded_path):
    process = start_gemma("generate", "The capital of France, Paris, is", "-n", "8")
    stdout, stderr = process.communicate()
    assert b"France" in stdout or b"city" in stdout
    assert (process.returncode, stderr) == (0, b"")


@pytest.mark.parametrize("num_pieces", [0, 2], ids=["no token", "two tokens"])
def test_json_after_ctrl_c_has_what_was_made(
    generate, expected, monkeypatch, num_pieces
):
    made, stream = list(expected().token_ids)[:num_pieces], Sampler.stream

    def stopped(self, prompt, **options):
        pieces = stream(self, prompt, **options)
        for _ in range(num_pieces):
            yield next(pieces)
        raise KeyboardInterrupt

    monkeypatch.setattr(Sampler, "stream", stopped)
    outcome = generate(PROMPT, "--json")
    found = json.loads(outcome.stdout)
    assert outcome.code == 130
    assert found["token_ids"] == made
    assert found["finish_reason"] is None
    assert (found["timing"]["first_token_s"] is None) == (num_pieces == 0)
