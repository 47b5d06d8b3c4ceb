import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma.gm.dialog import GEMMA3, Conversation, Role, Turn, parse_answer, render

answers = st.lists(
    st.text() | st.sampled_from(["<end_of_turn>", "\n", " a", "<end_of_", "turn>"])
).map("".join)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("Hello!", "Hello!"),
        ("Hello!<end_of_turn>", "Hello!"),
        (" Hello! \n<end_of_turn>\n<start_of_turn>user\nMore", "Hello!"),
        ("a<end_of_turn>b<end_of_turn>", "a"),
        ("<end_of_turn>", ""),
        ("", ""),
        ("a <end_of", "a <end_of"),
    ],
)
def test_answer_ends_at_its_tag(answer, text):
    assert parse_answer(answer, GEMMA3) == Turn.model(text)


@given(answers)
def test_what_was_rendered_parses_back(answer):
    """Parsing the learnt part of a prompt gives the turn that was rendered."""
    turn = parse_answer(answer, GEMMA3)
    segments = render(Conversation() + Turn.user("?") + turn, GEMMA3).segments
    written = "".join(s.text for s in segments if s.role is Role.MODEL)
    assert parse_answer(written, GEMMA3) == turn
