"""gemma chat: lines over pipes, slash commands, and what a terminal is sent."""

import contextlib
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gemma import gm
from gemma.cli.chat._commands import COMMANDS, interpret
from gemma.cli.chat._history import FileHistory
from gemma.cli.chat._interrupt import CtrlC
from gemma.cli.chat._loop import talk
from gemma.cli.chat._params import ChatParams, changed_params, shown_params
from gemma.cli.chat._session import ChatSession
from gemma.cli.chat._tuning import is_tuned
from gemma.gm.dialog import Conversation, Role, Turn, save_conversation
from gemma.gm.text import ChatSampler, Sampling

FIRST, SECOND = "the quick brown", "The rain is on the roof"
CACHE_LENGTH = 192
GREEDY = ["--temperature", 0, "-n", 8]


@pytest.fixture
def chat(gemma, tiny_checkpoint):
    """A function that runs `gemma chat` on the tiny model, at temperature 0."""

    def call(*args, **options):
        return gemma("chat", "--model", tiny_checkpoint, *GREEDY, *args, **options)

    return call


@pytest.fixture(scope="module")
def loaded(tiny_checkpoint) -> ChatSampler:
    return ChatSampler.from_pretrained(
        tiny_checkpoint, multi_turn=True, cache_length=CACHE_LENGTH
    )


@pytest.fixture
def sampler(loaded) -> ChatSampler:
    """A conversation of the tiny model in which nothing was said."""
    return loaded.fork()


@pytest.fixture
def session(sampler) -> ChatSession:
    """The same as one at a terminal has it, at temperature 0."""
    return make_session(sampler)


def make_session(sampler: ChatSampler, **options) -> ChatSession:
    params = ChatParams(sampling=Sampling(), max_new_tokens=8, seed=None)
    return ChatSession("tiny", sampler, params, **({"drop_oldest": False} | options))


class Shown:
    """What a person sees of answers."""

    def __init__(self):
        self.texts: list[str] = []
        self.counts: list[tuple[int, int]] = []

    def read(self, done: int, total: int) -> None:
        self.counts.append((done, total))

    def show(self, text: str) -> None:
        self.texts.append(text)

    @contextlib.contextmanager
    def answer(self):
        yield self


class StopsAfter(Shown):
    """Presses Ctrl-C when so many texts are shown."""

    def __init__(self, num_texts: int):
        super().__init__()
        self.num_texts = num_texts

    def show(self, text: str) -> None:
        super().show(text)
        if len(self.texts) == self.num_texts:
            signal.raise_signal(signal.SIGINT)


def ask(session: ChatSession, text: str, **options):
    """Says something; returns how the answer went."""
    return session.ask(session.message(text), Shown().answer, **options)


def answers(sampler: ChatSampler, *messages: str) -> list[str]:
    """Returns what the library answers, greedily."""
    return [sampler.chat(message, max_new_tokens=8) for message in messages]


# Over pipes.


def test_each_line_is_a_message(chat, sampler):
    outcome = chat(stdin=f"{FIRST}\n{SECOND}\n".encode())
    expected = answers(sampler, FIRST, SECOND)
    assert (outcome.code, outcome.stdout) == (0, "\n".join([*expected, ""]))


def test_a_line_may_lack_its_end_and_windows_ends_are_ends(chat, sampler):
    outcome = chat(stdin=f"{FIRST}\r\n{SECOND}".encode())
    assert outcome.stdout == "\n".join([*answers(sampler, FIRST, SECOND), ""])


def test_empty_lines_are_no_messages(chat, sampler):
    outcome = chat(stdin=f"\n  \n{FIRST}\n\n".encode())
    assert outcome.stdout == "\n".join([*answers(sampler, FIRST), ""])


@pytest.mark.parametrize("line", ["/exit", "//two", "ends in a \\"])
def test_a_piped_line_is_never_a_command(chat, sampler, line):
    assert chat(stdin=f"{line}\n".encode()).stdout == answers(sampler, line)[0] + "\n"


def test_no_line_is_no_answer(chat):
    outcome = chat(stdin=b"")
    assert (outcome.code, outcome.stdout) == (0, "")


def test_a_system_prompt_reaches_the_model(chat, sampler):
    sampler.system = "the sea"
    expected = answers(sampler, FIRST)[0]
    assert chat("--system", "the sea", stdin=FIRST.encode()).stdout == expected + "\n"


def test_a_seed_repeats_a_conversation(chat):
    args, stdin = ["--temperature", 2, "--seed", 3], f"{FIRST}\n{FIRST}\n".encode()
    assert chat(*args, stdin=stdin).stdout == chat(*args, stdin=stdin).stdout


def test_draws_as_google_recommends(gemma, tiny_checkpoint, sampler):
    sampling = Sampling(temperature=1.0, top_k=64, top_p=0.95)
    expected = sampler.chat(FIRST, sampling=sampling, max_new_tokens=8, rng=5)
    args = ["chat", "-m", tiny_checkpoint, "-n", 8, "--seed", 5]
    assert gemma(*args, stdin=FIRST.encode()).stdout == expected + "\n"


def test_what_is_not_utf8_is_an_error(chat):
    outcome = chat(stdin=b"abc\xff\n")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "not UTF-8: byte 0xFF at offset 3." in outcome.stderr


@pytest.mark.slow
def test_a_conversation_that_does_not_fit_ends_with_an_error(chat):
    outcome = chat("--cache-length", 64, stdin=f"{SECOND}\n".encode() * 9)
    assert outcome.code == 1
    (error,) = (s for s in outcome.stderr.splitlines() if s.startswith("error: "))
    assert "the cache holds 64" in error
    assert "--drop-oldest" in error


@pytest.mark.slow
def test_old_turns_are_dropped_on_demand(chat):
    args = ["--cache-length", 64, "--drop-oldest"]
    outcome = chat(*args, stdin=f"{SECOND}\n".encode() * 9)
    assert outcome.code == 0
    assert "turns were forgotten to make room." in outcome.stderr


def test_a_pretrained_model_is_called_one(chat):
    outcome = chat(stdin=b"")
    assert outcome.stderr.startswith("This model is pre-trained, not instruction-tuned")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--top-k", "0"], "top_k is 0"),
        (["--min-p", "2"], "min_p is 2.0"),
        (["--temperature", "nan"], "temperature is nan"),
        (["--cache-length", "0"], "cache_length is 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options_are_one_line(chat, options, words):
    outcome = chat(*options, stdin=b"hi")
    assert (outcome.code, outcome.stdout) == (1, "")
    (error,) = outcome.stderr.splitlines()
    assert words in error


def test_the_help_imports_nothing_heavy():
    code = (
        "import sys; from gemma.cli.main import run; run(['chat', '--help']);"
        "sys.exit(bool({'jax', 'numpy', 'prompt_toolkit', 'sentencepiece'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


# A person at a terminal that cannot draw.


def test_a_person_has_commands(chat, sampler):
    typed = f"{FIRST}\n/undo\n{SECOND}\n/exit\nnever read\n"
    outcome = chat(stdin=typed.encode(), terminal=True)
    expected = [*answers(sampler, FIRST), *answers(sampler.fork(), SECOND)]
    sampler.reset()
    expected[1] = answers(sampler, SECOND)[0]
    assert outcome.stdout == "\n".join([*expected, ""])
    assert f"Taken back: {FIRST}" in outcome.stderr


def test_a_line_that_ends_in_a_backslash_goes_on(chat, sampler):
    outcome = chat(stdin=f"{FIRST}\\\n{SECOND}\n".encode(), terminal=True)
    assert outcome.stdout == answers(sampler, f"{FIRST}\n{SECOND}")[0] + "\n"


def test_an_error_ends_no_conversation(chat, sampler):
    outcome = chat(stdin=f"/nonsense\n\xff\n{FIRST}\n".encode("latin-1"), terminal=True)
    assert (outcome.code, outcome.stdout) == (0, answers(sampler, FIRST)[0] + "\n")
    assert "There is no command /nonsense" in outcome.stderr
    assert "not UTF-8" in outcome.stderr


# The loop.


class Person:
    """Types lines, or presses keys that are errors; reads what is said."""

    def __init__(self, *typed: str | BaseException):
        self.typed = iter([*typed, EOFError()])
        self.said: list[str] = []
        self.answer = Shown().answer

    def read(self, status: str) -> str:
        typed = next(self.typed)
        if isinstance(typed, BaseException):
            raise typed
        return typed

    def say(self, words: str) -> None:
        self.said.append(words)


def test_ctrl_c_at_the_prompt_says_how_to_leave(session):
    person = Person(KeyboardInterrupt(), "/system x", "/exit")
    talk(session, person)
    assert person.said == ["Ctrl-D or /exit leaves.", "System prompt: x"]


def test_an_answer_that_is_cut_says_so(session):
    session.params = changed_params(session.params, "max_new_tokens=2")
    person = Person(FIRST)
    talk(session, person)
    assert person.said == ["The answer was cut at 2 tokens: max_new_tokens."]


def test_a_full_cache_says_so(session):
    session.params = changed_params(session.params, "max_new_tokens=999 " + ENDLESS)
    session.ways_out = "Do this."
    person = Person(FIRST)
    talk(session, person)
    assert person.said == ["The answer was cut: the cache is full. Do this."]


def test_images_of_a_message_that_failed_are_gone(session, capsys):
    session.images = [gm.dialog.Image(Path("x.png"))]
    person = Person("look")
    talk(session, person)
    assert person.said == ["Attach images again: they went with the message."]
    assert "reads text only" in capsys.readouterr().err
    assert session.chat.turns == []


# Ids of <eos> and <end_of_turn>, which the tiny model may say at any time.
ENDLESS = "logit_bias=1:-inf,6:-inf"


def test_the_ids_that_end_an_answer(tiny_tokenizer):
    assert set(tiny_tokenizer.stop_ids) == {1, 6}


# Commands.


def test_two_slashes_send_one(session):
    outcome = interpret("//help me", session)
    assert outcome.question == Turn.user("/help me")


@pytest.mark.parametrize(
    ("typed", "near"),
    [("/hlep", "/help"), ("/Undo", "/undo"), ("/parms a=b", "/params")],
)
def test_an_unknown_command_names_the_nearest(session, typed, near):
    with pytest.raises(ValueError, match=f"Did you mean {near}?"):
        interpret(typed, session)


@pytest.mark.parametrize("typed", ["/", "/qqqqq", "/etc/passwd is what"])
def test_a_command_like_no_other_points_at_the_help(session, typed):
    with pytest.raises(ValueError, match="/help lists"):
        interpret(typed, session)


@pytest.mark.parametrize("name", ["undo", "retry", "clear", "exit", "help"])
def test_a_command_takes_no_more_than_it_needs(session, name):
    with pytest.raises(ValueError, match=f"/{name} takes nothing behind it"):
        interpret(f"/{name} now", session)


def test_help_names_every_command(session):
    words = interpret("/help", session).words
    assert all(f"/{command.name}" in words for command in COMMANDS)


@pytest.mark.parametrize("typed", ["/exit", "/quit", " /exit "])
def test_exit_leaves(session, typed):
    assert interpret(typed, session).leaves


def test_system_is_shown_set_and_taken_away(session):
    assert interpret("/system", session).words == "There is no system prompt."
    interpret("/system the sea", session)
    assert session.chat.system == "the sea"
    assert interpret("/system", session).words == "System prompt: the sea"
    interpret('/system ""', session)
    assert session.chat.system is None


def test_a_family_without_system_prompts_says_so(tiny_model, tiny_tokenizer):
    tiny = tiny_model("gemma1_mqa")
    chat = ChatSampler(model=tiny.model, params=tiny.params, tokenizer=tiny_tokenizer)
    with pytest.raises(ValueError, match="Gemma 1 has no system prompt"):
        interpret("/system the sea", make_session(chat))
    assert chat.system is None


def test_a_model_without_eyes_says_so_at_once(session, tmp_path):
    image = tmp_path / "a cat.png"
    image.write_bytes(b"")
    with pytest.raises(ValueError, match="reads text only"):
        interpret(f"/image {image}", session)
    assert session.images == []


def test_an_image_goes_with_the_next_message(session):
    session.images = [gm.dialog.Image(Path("x.png"))]
    assert "1 image attached" in session.status()
    assert session.message("look").parts[0] == gm.dialog.Image(Path("x.png"))
    assert session.images == []


def test_an_image_that_is_not_there_is_an_error(session, tmp_path):
    with pytest.raises(ValueError, match="There is no file"):
        interpret(f"/image {tmp_path / 'nothing.png'}", session)


@pytest.mark.parametrize("quoted", ["{}", "'{}'", '"{}"'])
def test_paths_may_have_spaces_and_quotes(session, tmp_path, quoted):
    path = tmp_path / "a file.json"
    save_conversation(Conversation((Turn.user("a"), Turn.model("b"))), path)
    interpret(f"/load {quoted.format(path)}", session)
    assert len(session.chat.turns) == 2


def test_undo_takes_back(session):
    ask(session, FIRST)
    assert interpret("/undo", session).words == f"Taken back: {FIRST}"
    assert (session.chat.turns, session.num_tokens) == ([], 0)


@pytest.mark.parametrize("typed", ["/undo", "/retry"])
def test_where_nothing_was_said_nothing_is_taken_back(session, typed):
    with pytest.raises(ValueError, match="There is no"):
        interpret(typed, session)


def test_retry_asks_the_same_with_another_seed(session):
    session.params = changed_params(session.params, "temperature=3 seed=1")
    first = ask(session, FIRST)
    outcome = interpret("/retry", session)
    second = session.ask(outcome.question, Shown().answer, again=outcome.again)
    assert [turn.text for turn in session.chat.turns] == [FIRST, second.text]
    assert first.text != second.text


def test_retry_at_temperature_0_says_that_it_is_in_vain(session):
    ask(session, FIRST)
    assert "/params temperature=1" in interpret("/retry", session).words


def test_a_retry_that_fails_leaves_the_old_answer(session):
    ask(session, FIRST)
    before = list(session.chat.turns)
    session.params = changed_params(session.params, "logit_bias=99999:1")
    with pytest.raises(ValueError, match="outside the vocabulary"):
        ask(session, FIRST, again=True)
    assert session.chat.turns == before


def test_clear_keeps_the_system_prompt(session):
    session.chat.system = "the sea"
    ask(session, FIRST)
    assert "The system prompt stays." in interpret("/clear", session).words
    assert (session.chat.turns, session.chat.system) == ([], "the sea")


def test_what_is_saved_can_be_loaded(session, tmp_path):
    session.chat.system = "the sea"
    ask(session, FIRST)
    said = session.chat.conversation
    interpret(f"/save {tmp_path / 'talk.json'}", session)
    interpret("/clear", session)
    assert "2 turns" in interpret(f"/load {tmp_path / 'talk.json'}", session).words
    assert session.chat.conversation == said


def test_a_loaded_conversation_that_ends_in_a_question_is_answered(session, tmp_path):
    path = tmp_path / "talk.json"
    save_conversation(Conversation((Turn.user(FIRST),)), path)
    outcome = interpret(f"/load {path}", session)
    assert outcome.question == Turn.user(FIRST)
    session.ask(outcome.question, Shown().answer)
    assert [turn.role for turn in session.chat.turns] == [Role.USER, Role.MODEL]


def test_save_replaces_no_file_of_others(session, tmp_path):
    ask(session, FIRST)
    (tmp_path / "diary").write_text("mine")
    with pytest.raises(ValueError, match="exists"):
        interpret(f"/save {tmp_path / 'diary'}", session)
    assert (tmp_path / "diary").read_text() == "mine"


def test_save_replaces_what_it_has_saved(session, tmp_path):
    ask(session, FIRST)
    interpret(f"/save {tmp_path / 'talk.json'}", session)
    ask(session, SECOND)
    interpret(f"/save {tmp_path / 'talk.json'}", session)
    assert len(json.loads((tmp_path / "talk.json").read_bytes())["messages"]) == 4


def test_there_must_be_something_to_save(session, tmp_path):
    with pytest.raises(ValueError, match="Nothing was said yet"):
        interpret(f"/save {tmp_path / 'talk.json'}", session)


@pytest.mark.parametrize("typed", ["/save", "/load"])
def test_files_need_a_name(session, typed):
    with pytest.raises(ValueError, match=f"{typed} needs a file"):
        interpret(typed, session)


# Params.

PARAMS = ChatParams(
    sampling=Sampling(temperature=1.0, top_k=64, top_p=0.95),
    max_new_tokens=512,
    seed=None,
)


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("temperature=0.7 top_k=40", {"temperature": 0.7, "top_k": 40}),
        ("top_k=none min_p=.1", {"top_k": None, "min_p": 0.1}),
        ("repetition_penalty=1.5", {"repetition_penalty": 1.5}),
        ("logit_bias=6:-inf,1:2.5", {"logit_bias": {6: -float("inf"), 1: 2.5}}),
        ("logit_bias=none", {"logit_bias": {}}),
    ],
)
def test_params_of_sampling_are_set(words, changes):
    sampling = changed_params(PARAMS, words).sampling
    assert {name: getattr(sampling, name) for name in changes} == changes
    kept = {"top_p": 0.95, "presence_penalty": 0.0}
    assert {name: getattr(sampling, name) for name in kept} == kept


def test_params_beside_sampling_are_set():
    params = changed_params(PARAMS, "max_new_tokens=7 seed=3")
    assert (params.max_new_tokens, params.seed) == (7, 3)
    assert changed_params(params, "seed=none").seed is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("temprature=1", "There is no parameter 'temprature'."),
        ("temperature", "temperature has no value."),
        ("temperature=", "temperature has no value."),
        ("temperature=hot", "temperature cannot be 'hot'."),
        ("temperature=-1", "temperature is -1.0; it must be"),
        ("top_k=0.5", "top_k cannot be '0.5'."),
        ("top_k=0", "top_k is 0; it must be"),
        ("max_new_tokens=0", "max_new_tokens cannot be '0'."),
        ("logit_bias=6", "logit_bias cannot be '6'."),
        ("top_p=0.5 top_q=1", "There is no parameter 'top_q'."),
    ],
)
def test_wrong_params_are_explained(words, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        changed_params(PARAMS, words)


def test_what_is_shown_of_params_can_be_typed_again():
    params = changed_params(PARAMS, "logit_bias=6:-inf,1:2.5 top_k=none seed=5")
    typed = "\n".join("=".join(s.split()) for s in shown_params(params).splitlines())
    assert changed_params(PARAMS, typed) == params


# Ctrl-C.


def test_ctrl_c_between_tokens_is_noted():
    with CtrlC() as ctrl_c:
        ctrl_c.waits = True
        signal.raise_signal(signal.SIGINT)
        assert ctrl_c.was_pressed


@pytest.mark.parametrize("waits", [False, True])
def test_ctrl_c_that_nobody_looks_at_interrupts(waits):
    with CtrlC() as ctrl_c:
        if waits:
            ctrl_c.waits = True
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_afterwards_is_what_it_was():
    before = signal.getsignal(signal.SIGINT)
    with CtrlC():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_an_answer_that_is_stopped_stays_as_far_as_it_was_shown(session):
    session.params = changed_params(session.params, ENDLESS)
    shown = StopsAfter(3)
    answer = session.ask(session.message(FIRST), shown.answer)
    assert (answer.was_stopped, answer.num_tokens) == (True, 3)
    assert [turn.text for turn in session.chat.turns] == [FIRST, "".join(shown.texts)]


def test_a_conversation_goes_on_after_a_stop(session, sampler):
    session.params = changed_params(session.params, ENDLESS)
    session.ask(session.message(FIRST), StopsAfter(1).answer)
    session.params = changed_params(session.params, "logit_bias=none")
    fresh = make_session(sampler.fork())
    fresh.chat.reset()
    fresh.chat.turns = list(session.chat.turns)
    assert ask(session, SECOND).text == ask(fresh, SECOND).text


def test_one_sees_how_much_of_a_long_prompt_is_read(session):
    shown = Shown()
    question = session.message("the quick brown fox " * 8)
    session.ask(question, shown.answer)
    total = shown.counts[-1][1]
    assert shown.counts == [(0, total), (total, total)]


def test_ctrl_c_while_the_prompt_is_read_keeps_what_was_computed(session):
    ask(session, FIRST)
    state = session.chat.last_state

    class Impatient(Shown):
        def read(self, done: int, total: int) -> None:
            signal.raise_signal(signal.SIGINT)

    answer = session.ask(session.message(SECOND), Impatient().answer)
    assert (answer.was_stopped, answer.text) == (True, "")
    assert session.chat.last_state is state


def test_a_question_that_is_stopped_before_the_first_word_was_not_asked(session):
    ask(session, FIRST)
    before = list(session.chat.turns)

    @contextlib.contextmanager
    def stop_at_once():
        signal.raise_signal(signal.SIGINT)
        yield Shown()

    answer = session.ask(session.message(SECOND), stop_at_once)
    assert (answer.was_stopped, answer.text) == (True, "")
    assert session.chat.turns == before


# The cache.


def test_a_conversation_that_does_not_fit_names_the_ways_out(sampler):
    session = make_session(sampler, ways_out="Use /undo.")
    session.chat.turns = [Turn.user("a " * 60), Turn.model("b " * 60)]
    before = list(session.chat.turns)
    with pytest.raises(ValueError, match=r"the cache holds 192 .* Use /undo\."):
        ask(session, "c " * 60)
    assert session.chat.turns == before


@pytest.mark.parametrize("drop_oldest", [False, True])
def test_a_message_that_does_not_fit_alone_is_told_apart(sampler, drop_oldest):
    session = make_session(sampler, drop_oldest=drop_oldest)
    with pytest.raises(ValueError, match="The message alone has"):
        ask(session, "a " * 400)


def test_the_status_counts_what_is_said(session):
    assert session.status() == "tiny · cache 0 / 192"
    ask(session, FIRST)
    num_tokens = len(session.chat.sampler.encode(session.chat.conversation))
    assert session.status().endswith(f" tok/s · cache {num_tokens} / 192")


# Tuned or not.


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gemma-3-1b-it", True),
        ("google/gemma-2-9b-it", True),
        ("codegemma-7b-instruct", True),
        ("gemma-3-1b-pt", False),
        ("gemma-2-2b", False),
        ("gemma-italian", False),
        (None, False),
    ],
)
def test_a_name_says_whether_a_model_is_tuned(tmp_path, name, expected):
    assert is_tuned(name, tmp_path, None) is expected


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("gemma-3-1b-it", True),
        ("models--google--gemma-3-1b-it/snapshots/1a2b", True),
        ("models--google--gemma-3-1b-pt/snapshots/1a2b", False),
        ("it/model", False),
    ],
)
def test_a_path_says_whether_a_model_is_tuned(tmp_path, place, expected):
    assert is_tuned(None, tmp_path / place, None) is expected


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("chat_template.jinja", "{{ x }}", True),
        ("tokenizer_config.json", '{"chat_template": "{{ x }}"}', True),
        ("tokenizer_config.json", '{"bos_token": "<bos>"}', False),
        ("tokenizer_config.json", "[]", False),
        ("tokenizer_config.json", "not JSON", False),
    ],
)
def test_a_chat_template_says_that_a_model_is_tuned(tmp_path, file, content, expected):
    (tmp_path / file).write_text(content)
    assert is_tuned(None, tmp_path, None) is expected


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"general.name": "Gemma 3 270m"}, False),
        ({"general.name": "Gemma 3 1b It"}, True),
        ({"general.finetune": "it"}, True),
        ({"tokenizer.chat_template": "{{ x }}"}, True),
    ],
)
def test_a_gguf_file_says_whether_a_model_is_tuned(metadata, expected):
    assert is_tuned(None, Path("/models/model.gguf"), metadata) is expected


# History.


def test_history_is_kept_for_its_owner_alone(tmp_path):
    path = tmp_path / "new" / "history"
    for message in ("one", "two\nlines"):
        FileHistory(path).store_string(message)
    assert list(FileHistory(path).load_history_strings()) == ["two\nlines", "one"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_history_is_bounded(tmp_path):
    path = tmp_path / "history"
    path.write_text("".join(f'"{n}"\n' for n in range(1500)))
    path.chmod(0o600)
    kept = list(FileHistory(path).load_history_strings())
    assert kept == [str(n) for n in range(1499, 999, -1)]
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_long_messages_bound_the_history_too(tmp_path):
    path = tmp_path / "history"
    path.write_text(f'"{"x" * 9_000}"\n' * 200)
    FileHistory(path)
    assert path.stat().st_size < 1 << 20


def test_a_damaged_line_of_history_is_left_out(tmp_path):
    path = tmp_path / "history"
    path.write_text('"one"\n"tw\n{}\n"three"\n')
    assert list(FileHistory(path).load_history_strings()) == ["three", "one"]


def test_a_history_that_cannot_be_kept_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    history = FileHistory(tmp_path / "file" / "history")
    history.store_string("one")
    assert list(history.load_history_strings()) == []
