"""Stop strings: a text in parts is cut where the whole text would be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma.gm.text import StopStrings

# Few letters, so that strings overlap, repeat and nearly match.
parts = st.lists(st.text(alphabet="ab", max_size=5))
strings = st.lists(st.text(alphabet="ab", min_size=1, max_size=4), max_size=3)


def cut(text: str, strings: list[str]) -> str:
    found = (text.find(string) for string in strings)
    return text[: min((start for start in found if start >= 0), default=len(text))]


@given(parts=parts, strings=strings)
def test_text_in_parts_is_cut_like_the_whole(parts, strings):
    stop = StopStrings(strings)
    shown = "".join(stop.push(part)[0] for part in parts) + stop.finish()
    assert shown == cut("".join(parts), strings)
    assert stop.found == any(string in "".join(parts) for string in strings)


@given(parts=parts, strings=strings)
def test_nothing_is_held_back_without_need(parts, strings):
    """What is held could still, with other words to follow, belong to a stop string."""
    stop = StopStrings(strings)
    shown, text = "", ""
    for part in parts:
        safe, found = stop.push(part)
        shown, text = shown + safe, text + part
        if found:
            return
        held = text[len(shown) :]
        assert not held or any(string.startswith(held) for string in strings)


def test_stop_string_split_across_parts():
    stop = StopStrings(["User:"])
    assert stop.push("Yes. Us") == ("Yes. ", False)
    assert stop.push("er") == ("", False)
    assert stop.push(": no") == ("", True)
    assert stop.finish() == ""


def test_false_alarm_is_shown():
    stop = StopStrings(["User:"])
    stop.push("Use")
    assert stop.push(" it") == ("Use it", False)


def test_earlier_beginning_wins_over_earlier_end():
    stop = StopStrings(["abcd", "bc"])
    assert stop.push("xabc") == ("x", False)
    assert stop.push("d") == ("", True)


def test_earlier_beginning_that_comes_to_nothing():
    stop = StopStrings(["abcd", "bc"])
    stop.push("xabc")
    assert stop.push("x") == ("a", True)


def test_finish_decides_what_was_undecided():
    stop = StopStrings(["abcd", "bc"])
    stop.push("xabc")
    assert stop.finish() == "a"
    assert stop.found


def test_text_after_a_stop_string_is_never_shown():
    stop = StopStrings(["."])
    stop.push("One. Two")
    assert stop.push(" three") == ("", True)


def test_no_stop_strings_hold_nothing_back():
    assert StopStrings([]).push("all of it") == ("all of it", False)


def test_empty_stop_string_is_refused():
    with pytest.raises(ValueError, match="A stop string is empty"):
        StopStrings(["x", ""])
