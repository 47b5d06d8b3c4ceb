"""A model that asks for tools: what is run, what it reads of that, and when it ends.

No model of a test asks for a tool by itself, so its words are written beforehand.
"""

import itertools

import pytest

from gemma.gm.dialog import FUNCTION_GEMMA, GEMMA3_JSON, GEMMA3_PYTHON, Turn
from gemma.gm.text import ChatSampler, Piece, ToolRoundsError, ToolSampler
from gemma.gm.tools import Tool

ASK = '```tool_call\n{"name": "weather", "arguments": {"city": "Oslo"}}\n```'
ANSWER = "Sun in Oslo."


def weather(city: str) -> str:
    """Returns the weather of a city."""
    if city == "Atlantis":
        raise LookupError("no such city")
    return f"{city}: sun"


@pytest.fixture
def make(tiny_model, tiny_tokenizer, monkeypatch):
    """A function that returns a chat with a model that says what is written for it."""

    def make_chat(answers, **options) -> ToolSampler:
        tiny, written = tiny_model("gemma3_mqa"), iter(answers)

        def say(self, prompt, **options):
            turn = Turn.user(prompt) if isinstance(prompt, str) else prompt
            self.said.append(options)
            text = next(written)

            def pieces():
                yield Piece(0, text, 5, None, "stop")
                self.turns += [turn, Turn.model(text)]

            return pieces()

        monkeypatch.setattr(ChatSampler, "stream", say)
        chat = ToolSampler(
            model=tiny.model,
            params=tiny.params,
            tokenizer=tiny_tokenizer,
            **({"tools": [weather]} | options),
        )
        chat.said = []
        return chat

    return make_chat


def test_results_are_said_to_the_model(make):
    chat = make([ASK, ANSWER])
    assert chat.chat("Do I need an umbrella?") == ANSWER
    question, call, result, answer = (turn.text for turn in chat.turns)
    assert (question, call, answer) == ("Do I need an umbrella?", ASK, ANSWER)
    assert result == "```tool_output\nweather returned:\nOslo: sun\n```"


def test_an_answer_without_a_call_is_the_answer(make):
    chat = make([ANSWER])
    assert chat.chat("Hi") == ANSWER
    assert len(chat.turns) == 2


def test_the_system_prompt_declares_the_tools_before_the_users_own(make):
    chat = make([], system="Be brief.")
    read = chat._with_system([Turn.user("Hi")]).turns[0].text
    assert '"weather"' in read
    assert "Returns the weather of a city." in read
    assert read.endswith("\n\nBe brief.")
    assert chat.system == "Be brief."
    assert chat.conversation.turns[0] == Turn.system("Be brief.")


def test_a_tools_exception_is_a_result(make):
    chat = make([ASK.replace("Oslo", "Atlantis"), "It is lost."])
    assert chat.chat("Rain?") == "It is lost."
    assert "weather failed:\nLookupError: no such city" in chat.turns[2].text


def test_a_tool_that_never_returns_is_a_result(make):
    forever = itertools.count()

    def wait() -> str:
        """Waits."""
        while next(forever) >= 0:
            pass
        return ""

    call = '```tool_call\n{"name": "wait", "arguments": {}}\n```'
    chat = make([call, "Enough."], tools=[wait], tool_timeout_s=0.05)
    assert chat.chat("Wait") == "Enough."
    assert "was not done after 0.05 seconds" in chat.turns[2].text
    forever = iter(())  # ends the thread


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (ASK.replace("weather", "whether"), "There is no tool 'whether'"),
        (ASK.replace('"Oslo"', "7"), "city must be a string, not 7"),
        (ASK.replace("}}", "}"), "This call cannot be read"),
    ],
)
def test_what_is_wrong_with_a_call_is_said_to_the_model(make, call, said):
    chat = make([call, ANSWER])
    assert chat.chat("Rain?") == ANSWER
    assert said in chat.turns[2].text


def test_several_calls_in_one_answer(make):
    chat = make([f"{ASK}\n{ASK.replace('Oslo', 'Rome')}", ANSWER])
    chat.chat("Rain?")
    assert "Oslo: sun" in chat.turns[2].text
    assert "Rome: sun" in chat.turns[2].text


def test_calls_in_python(make):
    chat = make(
        ["```tool_code\nweather(city='Oslo')\n```", ANSWER], tool_format=GEMMA3_PYTHON
    )
    chat.chat("Rain?")
    assert "Oslo: sun" in chat.turns[2].text


def test_rounds_are_counted(make):
    chat = make([ASK] * 4, max_rounds=3)
    with pytest.raises(ToolRoundsError, match="asked for tools 4 times in a row"):
        chat.chat("Rain?")
    assert make([ASK] * 3 + [ANSWER], max_rounds=3).chat("Rain?") == ANSWER


def test_everything_written_is_streamed(make):
    chat, seen = make([ASK, ANSWER]), []
    chat.chat("Rain?", print_stream=seen.append)
    assert seen == [ASK, ANSWER]


def test_results_are_shown_to_who_asks(make):
    seen = []
    chat = make([ASK, ANSWER], on_result=lambda *pair: seen.append(pair))
    chat.chat("Rain?")
    ((call, result),) = seen
    assert (call.name, dict(call.arguments)) == ("weather", {"city": "Oslo"})
    assert (result.text, result.is_error) == ("Oslo: sun", False)


def test_rounds_go_on_where_turns_do_not(make):
    """Without multi_turn the question begins anew, and its results follow it."""
    chat = make([ASK, ANSWER], multi_turn=False)
    chat.chat("Rain?", images=["cat.png"], stop=["END"])
    first, second = chat.said
    assert first["images"] == ["cat.png"]
    assert "multi_turn" not in first
    assert (second["images"], second["multi_turn"]) == (None, True)
    assert first["stop"] == second["stop"] == ["END", "```tool_output"]


def test_tools_and_functions_are_tools(make):
    chat = make([], tools=[weather, Tool.from_function(weather, name="forecast")])
    assert [tool.name for tool in chat.tools] == ["weather", "forecast"]
    with pytest.raises(TypeError, match="no type hint"):
        make([], tools=[lambda x: x])


def test_formats_of_other_families_are_refused(make):
    with pytest.raises(ValueError, match="Results of FunctionGemma go into the model"):
        make([], tool_format=FUNCTION_GEMMA)
    assert GEMMA3_JSON.result_role == "user"


@pytest.mark.slow
def test_a_real_answer_goes_through(tiny_model, tiny_tokenizer):
    """Nothing written beforehand: a tiny model talks, and asks for nothing."""
    tiny = tiny_model("gemma3_mqa")
    chat = ToolSampler(
        model=tiny.model,
        params=tiny.params,
        tokenizer=tiny_tokenizer,
        tools=[weather],
        cache_length=1600,
        multi_turn=True,
    )
    answer = chat.chat("Rain?", max_new_tokens=4)
    assert [turn.text for turn in chat.turns] == ["Rain?", answer]
    chat.chat("Sun?", max_new_tokens=4)
    assert len(chat.turns) == 4
