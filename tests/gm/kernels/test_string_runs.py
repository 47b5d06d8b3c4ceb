"""Runs of strings: C++ against Python, whole, cut short and absurd."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma.gm.kernels import _string_runs, available, copy_strings, find_strings

needs_library = pytest.mark.skipif(
    not available(), reason="the kernels were not built: no C++ compiler"
)


def written(texts: list[bytes]) -> np.ndarray:
    parts = (struct.pack("<Q", len(text)) + text for text in texts)
    return np.frombuffer(b"".join(parts), np.uint8)


def assert_same(data: np.ndarray, count: int) -> None:
    found = find_strings(data, count)
    for ours, expected in zip(found, _string_runs._find(data, count), strict=True):
        np.testing.assert_array_equal(ours, expected)
        assert ours.dtype == np.int64


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_texts_are_found(texts):
    data = written(texts)
    begins, ends = find_strings(data, len(texts))
    found = [data[b:e].tobytes() for b, e in zip(begins, ends, strict=True)]
    assert found == texts


@needs_library
@given(st.binary(max_size=100), st.integers(0, 12))
def test_any_bytes_are_read_alike(data, count):
    assert_same(np.frombuffer(data, np.uint8), count)


@needs_library
@pytest.mark.parametrize("length", [4, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 2**64 - 8])
def test_absurd_lengths_end_the_search(length):
    data = np.frombuffer(struct.pack("<QcQ", 1, b"a", length) + b"abc", np.uint8)
    assert_same(data, 2)
    assert len(find_strings(data, 2)[0]) == 1


@needs_library
@given(st.lists(st.binary(max_size=50), max_size=20), st.randoms())
def test_texts_are_copied_in_any_order(texts, random):
    lengths = np.array([len(text) for text in texts], np.int64)
    data = np.frombuffer(b"".join(texts), np.uint8)
    ends = np.cumsum(lengths)
    order = random.sample(range(len(texts)), len(texts))
    places = np.zeros(len(texts), np.int64)
    places[order] = np.cumsum(lengths[order] + 3) - lengths[order]
    outs = [np.full(len(data) + 3 * len(texts), 7, np.uint8) for _ in range(2)]
    copy_strings(data, ends - lengths, ends, outs[0], places)
    _string_runs._copy(data, ends - lengths, ends, outs[1], places)
    np.testing.assert_array_equal(*outs)
    for text, place in zip(texts, places, strict=True):
        assert outs[0][place : place + len(text)].tobytes() == text


def test_places_outside_of_the_buffers_are_refused():
    data, out = np.zeros(4, np.uint8), np.zeros(4, np.uint8)
    for begin, end, place in ((0, 5, 0), (-1, 2, 0), (2, 1, 0), (0, 4, 1), (0, 1, -1)):
        numbers = (np.array([number]) for number in (begin, end))
        with pytest.raises(AssertionError):
            copy_strings(data, *numbers, out, np.array([place]))
