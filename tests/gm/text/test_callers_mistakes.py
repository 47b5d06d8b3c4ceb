"""What is passed in another form than the one needed: the error names that form."""

import pytest

from gemma.gm.dialog import Conversation, Turn
from gemma.gm.text import ChatSampler, Sampling, ToolSampler
from gemma.gm.text.constraints import Constraint

MESSAGES = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def sampler(tiny_sampler):
    return tiny_sampler("gemma3_mqa")


@pytest.fixture
def made(sampler):
    return {k: getattr(sampler, k) for k in ("model", "params", "tokenizer")}


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (MESSAGES, "Conversation.from_messages"),
        ([MESSAGES], "Conversation.from_messages"),
        ([Turn.user("Hi")], r"Conversation\(\(turn, \.\.\.\)\)"),
        ([1.5, 2.5], "found float"),
        (["Hi", None], "found NoneType"),
    ],
)
def test_what_is_no_prompt_is_named(sampler, prompt, said):
    with pytest.raises(TypeError, match=said):
        sampler.sample(prompt)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sampling": {"temperature": 1.0}}, r"sampling is a dict.*Sampling\(\*\*"),
        ({"sampling": {}}, "sampling is a dict"),
        ({"sampling": "greedy"}, "sampling is 'greedy'"),
        ({"sampling": [0.5]}, r"sampling is \[0\.5\]"),
        ({"constraint": "yes|no"}, r"constraint is 'yes\|no'.*Constraint\.regex"),
        ({"constraint": {"type": "object"}}, r"Constraint\.json_schema"),
        ({"constraint": ["yes"]}, r"Constraint\.choice"),
    ],
)
def test_options_of_another_form_are_named(sampler, options, said):
    with pytest.raises(TypeError, match=said):
        sampler.sample("Hi", **options)


@pytest.mark.slow
def test_streams_begin_with_the_prompt_on_request(sampler):
    options = {"max_new_tokens": 3, "echo": True}
    texts = list(sampler.sample("The rain", stream=True, **options))
    assert texts[0] == "The rain"
    assert "".join(texts) == sampler.sample("The rain", **options)
    rows = list(sampler.sample(["The rain", "д"], stream=True, **options))
    assert rows[0] == ["The rain", "д"]


def test_undo_of_a_question_alone(made):
    chat = ChatSampler(**made, turns=[Turn.user("Hi")])
    assert chat.undo() == Turn.user("Hi")
    assert chat.turns == []


@pytest.mark.slow
def test_the_question_at_the_end_is_answered(made):
    question = Turn.user("The rain")
    asked = ChatSampler(**made, multi_turn=True)
    answer = asked.chat(question, max_new_tokens=3)
    chat = ChatSampler(**made, turns=[question], multi_turn=True)
    with pytest.raises(ValueError, match=r"chat\(None\) answers it"):
        chat.chat("And?")
    chat.stream(None, max_new_tokens=3).close()  # nobody asked for a piece
    assert chat.turns == [question]
    assert chat.chat(None, max_new_tokens=3) == answer
    assert chat.conversation == Conversation((question, Turn.model(answer)))
    chat.reset()
    with pytest.raises(ValueError, match="There is no question to answer"):
        chat.chat(None)


@pytest.mark.parametrize(
    "options", [{"constraint": Constraint.choice(["a"])}, {"schema": True}]
)
def test_tools_and_constraints_exclude_each_other(made, options):
    def clock() -> str:
        """Returns the time."""
        return "noon"

    chat = ToolSampler(**made, tools=[clock])
    with pytest.raises(ValueError, match="could not call a tool"):
        chat.stream("Hi", sampling=Sampling(), **options)
