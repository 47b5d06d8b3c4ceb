"""Options that say how tokens are drawn, and which."""

import json
import shutil

import pytest
import typer

from gemma.cli.escapes import unescaped
from gemma.gm.text import ChatSampler, Constraint, Sampler, Sampling

PROMPT = "the quick brown"
RECOMMENDED = {"do_sample": True, "temperature": 0.7, "top_k": 5, "top_p": 0.9}


@pytest.fixture
def generate(gemma, tiny_checkpoint):
    """A function that runs `gemma generate` on the tiny model."""

    def call(*args, **options):
        command = "generate", "-m", tiny_checkpoint, "-n", 8, PROMPT, *args
        return gemma(*command, **options)

    return call


@pytest.fixture
def asked(monkeypatch):
    """What samplers were asked for, the last answer last."""
    options, stream = [], Sampler.stream

    def noted(self, prompt, **given):
        options.append(given)
        return stream(self, prompt, **given)

    monkeypatch.setattr(Sampler, "stream", noted)
    return options


@pytest.fixture(scope="module")
def recommending(tiny_checkpoint, tmp_path_factory):
    """The tiny model, with sampling options in its files."""
    folder = tmp_path_factory.mktemp("recommending") / "tiny"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / "generation_config.json").write_text(json.dumps(RECOMMENDED))
    return folder


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (r"\n", "\n"),
        (r"a\tb\r", "a\tb\r"),
        (r"\\n", r"\n"),
        (r"\x41\u00e9", "Aé"),
        ("\n", "\n"),
        ("plain é", "plain é"),
        ("", ""),
    ],
)
def test_escapes(text, meant):
    assert unescaped(text) == meant


@pytest.mark.parametrize("text", ["\\", r"\d", r"\x4", r"\ud800", r"\N", "a\\\n"])
def test_what_is_no_escape_is_refused(text):
    with pytest.raises(typer.BadParameter, match="is no escape"):
        unescaped(text)


@pytest.mark.slow
def test_stop_and_forbid_read_escapes(generate, asked):
    outcome = generate("--stop", r"\n", "--stop", r"\\", "--forbid", r"\x61")
    assert (outcome.code, asked[-1]["stop"]) == (0, ["\n", "\\"])
    assert asked[-1]["forbidden_tokens"] == ["a"]


def test_an_escape_that_is_none_is_a_usage_error(generate):
    outcome = generate("--stop", r"\q")
    assert (outcome.code, outcome.stdout) == (2, "")
    assert "--stop" in outcome.stderr


def test_penalties_and_biases_reach_the_sampler(generate, asked):
    generate(
        *("--repetition-penalty", 1.5, "--presence-penalty", 0.5),
        *("--frequency-penalty", -0.5, "--logit-bias", "7:-2,8:-inf"),
    )
    assert asked[-1]["sampling"] == Sampling(
        repetition_penalty=1.5,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        logit_bias={7: -2.0, 8: -float("inf")},
    )


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--logit-bias", "x"], "is not written as"),
        (["--logit-bias", "7:nan"], "logit_bias"),
        (["--logit-bias", "99999999:1"], "outside the vocabulary"),
        (["--repetition-penalty", 0], "repetition_penalty"),
        (["--presence-penalty", "nan"], "presence_penalty"),
        (["--sampling", "mine"], "is not 'model'"),
        (["--sampling", "model"], "recommends no sampling"),
        (["--regex", "a", "--choice", "b"], "only one of"),
        (["--regex", "("], ""),
        (["--schema", "{"], "schema"),
        (["--schema", "/nowhere.json"], "No such file"),
        (["--schema", "/"], "Is a directory"),
        (["--schema", ""], "The schema is empty"),
        (["--cache-length", 10**14], "must be 2,147,483,647 or less"),
        (["--choice", "a", "--stop", "b"], "Leave them out"),
    ],
    ids=str,
)
def test_what_cannot_be_is_one_line(generate, args, words):
    outcome = generate(*args)
    assert outcome.code in (1, 2)
    assert outcome.stdout.strip() == ""
    assert outcome.stderr.startswith("error: ")
    assert "bug" not in outcome.stderr
    assert words in outcome.stderr


def test_an_answer_is_one_of_the_choices(generate, asked):
    assert generate("--choice", "yes", "--choice", "no").stdout in ("yes\n", "no\n")
    assert asked[-1]["constraint"] == Constraint.choice(["yes", "no"])


def test_an_answer_matches_an_expression(generate):
    assert generate("--regex", "[ab]{3}").stdout.strip("ab") == "\n"


@pytest.mark.slow
def test_a_schema_is_text_or_a_file(generate, tmp_path):
    schema = '{"type": "boolean"}'
    (tmp_path / "schema.json").write_text(schema)
    for given in (schema, tmp_path / "schema.json"):
        assert generate("--schema", given).stdout in ("true\n", "false\n")


@pytest.mark.slow
def test_sampling_as_the_checkpoint_recommends(gemma, recommending, asked):
    command = "generate", "-m", recommending, "-n", 2, "--sampling", "model", PROMPT
    assert gemma(*command).code == 0
    assert asked[-1]["sampling"] == Sampling(temperature=0.7, top_k=5, top_p=0.9)
    gemma(*command, "--temperature", 0.5)
    assert asked[-1]["sampling"] == Sampling(temperature=0.5, top_k=5, top_p=0.9)
    gemma("generate", "-m", recommending, "-n", 2, PROMPT)
    assert asked[-1]["sampling"] == Sampling()


@pytest.mark.slow
def test_chat_samples_as_the_checkpoint_recommends(gemma, recommending, asked):
    command = "chat", "-m", recommending, "-n", 2, "--top-k", 3
    gemma(*command, "--sampling", "model", stdin=PROMPT.encode())
    assert asked[-1]["sampling"] == Sampling(temperature=0.7, top_k=3, top_p=0.9)
    gemma(*command, stdin=PROMPT.encode())
    assert asked[-1]["sampling"] == Sampling(temperature=1.0, top_k=3, top_p=0.95)


@pytest.mark.slow
def test_samplers_take_the_recommended_sampling(recommending):
    sampler = Sampler.from_pretrained(recommending)
    drawn = Sampling(temperature=0.7, top_k=5, top_p=0.9)
    options = {"max_new_tokens": 8, "rng": 3}
    assert sampler.sample(PROMPT, sampling="model", **options) == sampler.sample(
        PROMPT, sampling=drawn, **options
    )
    chat = ChatSampler.from_pretrained(recommending, sampling="model")
    answer = chat.chat(PROMPT, **options)
    assert chat.chat(PROMPT, sampling=drawn, **options) == answer
    assert chat.chat(PROMPT, sampling="model", **options) == answer


def test_a_checkpoint_that_recommends_nothing_says_so(tiny_checkpoint_sampler):
    with pytest.raises(ValueError, match="tiny recommends no sampling"):
        tiny_checkpoint_sampler.sample(PROMPT, sampling="model")
    with pytest.raises(TypeError, match="sampling is 'mine'"):
        tiny_checkpoint_sampler.sample(PROMPT, sampling="mine")


@pytest.mark.slow
def test_chat_answers_in_json_over_a_pipe(gemma, tiny_checkpoint):
    command = "chat", "-m", tiny_checkpoint, "-n", 4, "--temperature", 0
    lines = b"the quick brown\n\nThe rain\n"
    found = [
        json.loads(line)
        for line in gemma(*command, "--json", stdin=lines).stdout.splitlines()
    ]
    assert [answer["prompt"] for answer in found] == ["the quick brown", "The rain"]
    assert all(answer["finish_reason"] in ("stop", "length") for answer in found)
    plain = gemma(*command, stdin=lines).stdout
    assert "".join(answer["text"] + "\n" for answer in found) == plain


def test_chat_answers_in_json_to_no_person(gemma, tiny_checkpoint):
    outcome = gemma("chat", "-m", tiny_checkpoint, "--json", terminal=True)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert "--json" in outcome.stderr


def test_chat_answers_match(gemma, tiny_checkpoint):
    command = "chat", "-m", tiny_checkpoint, "--choice", "yes", "--choice", "no"
    outcome = gemma(*command, stdin=b"Is it?\nIs it not?")
    assert set(outcome.stdout.splitlines()) <= {"yes", "no"}
    assert len(outcome.stdout.splitlines()) == 2


def test_a_system_prompt_that_is_no_text_is_refused_at_once(gemma, tiny_checkpoint):
    outcome = gemma("chat", "-m", tiny_checkpoint, "--system", "\udcff", stdin=b"hi")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "The text is not UTF-8: byte 0xFF" in outcome.stderr
