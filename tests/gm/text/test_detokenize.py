"""Streams of tokens: joined, the text of the whole."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma.gm.text import StreamingDecoder, Tokenizer

TINY = Tokenizer.from_path(Path(__file__).parents[2] / "data" / "tiny_tokenizer.model")

bytes_of_text = st.text(max_size=4).map(
    lambda text: [TINY.id(f"<0x{byte:02X}>") for byte in text.encode()]
)
ids = st.lists(
    st.one_of(
        bytes_of_text,
        st.integers(0, TINY.vocab_size - 1).map(lambda token_id: [token_id]),
    )
).map(lambda parts: list(itertools.chain(*parts)))


def byte_ids(run: bytes) -> list[int]:
    return [TINY.id(f"<0x{byte:02X}>") for byte in run]


@given(ids=ids, skip_control_tokens=st.booleans())
def test_stream_equals_decode(ids, skip_control_tokens):
    decoder = StreamingDecoder(TINY, skip_control_tokens)
    streamed = "".join(map(decoder.push, ids)) + decoder.finish()
    assert streamed == TINY.decode(ids, skip_control_tokens=skip_control_tokens)


@given(text=st.text())
def test_stream_never_shows_half_a_character(text):
    decoder = StreamingDecoder(TINY)
    ids = TINY.encode(text, control_tokens=False)
    shown = [decoder.push(token_id) for token_id in ids]
    assert "\ufffd" not in "".join(shown) or "\ufffd" in text


def test_words_are_shown_at_once():
    decoder = StreamingDecoder(TINY)
    assert [decoder.push(token_id) for token_id in TINY.encode("he in")] == [
        "he",
        " in",
    ]


def test_bytes_wait_for_the_end_of_their_run():
    decoder = StreamingDecoder(TINY)
    shown = [decoder.push(token_id) for token_id in byte_ids("😀".encode())]
    assert shown == [""] * 4
    assert decoder.push(TINY.id("he")) == "😀he"


def test_skipped_control_token_does_not_end_a_run():
    decoder = StreamingDecoder(TINY)
    first, *rest = byte_ids("é".encode())
    for token_id in (first, TINY.bos_id, *rest):
        assert decoder.push(token_id) == ""
    assert decoder.finish() == "é"


def test_incomplete_character_is_replaced_at_the_end():
    decoder = StreamingDecoder(TINY)
    for token_id in byte_ids("😀".encode()[:3]):
        decoder.push(token_id)
    assert decoder.finish() == "\ufffd" * 3


def test_decoder_starts_afresh_after_finish():
    decoder = StreamingDecoder(TINY)
    decoder.push(byte_ids(b"\xff")[0])
    decoder.finish()
    assert decoder.finish() == ""


def test_id_outside_the_vocabulary_changes_nothing():
    decoder = StreamingDecoder(TINY, skip_control_tokens=False)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        decoder.push(480)
    assert decoder.finish() == ""
