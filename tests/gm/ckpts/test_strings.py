"""Texts in one buffer behave as a list of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma.gm.ckpts import Strings

texts = st.lists(st.text(max_size=8), max_size=12)


@given(texts)
def test_it_is_the_list(texts):
    strings = Strings.of(texts)
    assert list(strings) == texts
    assert len(strings) == len(texts)
    assert [strings[i] for i in range(len(texts))] == texts
    assert list(strings[1:4]) == texts[1:4]
    assert strings == Strings.of(texts)
    assert strings != Strings.of([*texts, "more"])
    assert strings.num_bytes.tolist() == [len(text.encode()) for text in texts]


@given(texts, st.data())
def test_replaced(texts, data):
    places = st.integers(0, max(0, len(texts) - 1))
    changes = data.draw(st.dictionaries(places, st.text(max_size=5))) if texts else {}
    expected = [changes.get(i, text) for i, text in enumerate(texts)]
    strings = Strings.of(texts)
    assert list(strings.replaced(changes)) == expected
    assert list(strings) == texts


@given(texts)
def test_first_bytes(texts):
    expected = [text.encode()[0] if text else 0 for text in texts]
    assert Strings.of(texts).first_bytes().tolist() == expected


def test_copies_go_where_they_are_told():
    strings = Strings.of(["ab", "", "星"])
    out = np.full(8, ord("."), np.uint8)
    strings.copy_to(out, np.array([5, 0, 1]))
    assert out.tobytes().decode() == ".星.ab."


def test_what_is_not_utf8_is_marked():
    strings = Strings(b"a\xffb", np.array([0, 1]), np.array([1, 3]))
    assert list(strings) == ["a", "\ufffdb"]


def test_places_beyond_the_end_raise():
    with pytest.raises(IndexError):
        Strings.of(["a"])[1]
