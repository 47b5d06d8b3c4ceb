"""A row as it grows: whole characters, and nothing of a stop string."""

import pytest

from gemma.gm.text._generation import GrowingRow

# A family joined by invisible characters, a flag of two letters, marks that combine with
# the letter before, and a letter that is not composed.
TEXTS = ["👩‍👩‍👧 the rain 🇫🇷", "e\u0301 o\u0308\u0323 नि", "the 👍🏽 sea", "ordinary"]


def grow(tokenizer, ids, stop=()) -> tuple[list[str], GrowingRow]:
    """Returns the pieces of text that tokens make, and the row."""
    row = GrowingRow(
        0, [2], tokenizer, stop=stop, stop_ids=(1,), max_new_tokens=len(ids)
    )
    texts = []
    for token_id in ids:
        texts.append(row.push(token_id, None).text)
        if row.finish_reason is not None:
            break
    return texts, row


def byte_ids(tokenizer, text: str) -> list[int]:
    """Returns a token for each byte."""
    return [tokenizer.id(f"<0x{byte:02X}>") for byte in text.encode()]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    "spell", [byte_ids, lambda tokenizer, text: tokenizer.encode(text)]
)
def test_characters_of_many_bytes_come_whole(text, spell, tiny_tokenizer):
    ids = spell(tiny_tokenizer, text)
    pieces, row = grow(tiny_tokenizer, ids)
    assert "".join(pieces) == tiny_tokenizer.decode(ids) == text
    assert not any("\ufffd" in piece for piece in pieces)
    assert row.token_ids == [2, *ids]


@pytest.mark.parametrize("stop", ["👧", "\u0301 o", "sea", "👍🏽 s", "</end>"])
def test_a_stop_string_split_over_tokens_is_never_shown(stop, tiny_tokenizer):
    """In the middle of an emoji's parts, between a letter and its mark, over bytes."""
    text = "👩‍👩‍👧 e\u0301 o the 👍🏽 sea </end> and more"
    for ids in (tiny_tokenizer.encode(text), byte_ids(tiny_tokenizer, text)):
        pieces, row = grow(tiny_tokenizer, ids, stop=[stop])
        assert "".join(pieces) == text[: text.index(stop)]
        assert row.finish_reason == "stop"


def test_a_stop_string_that_never_ends_is_shown_in_the_end(tiny_tokenizer):
    ids = tiny_tokenizer.encode("the sea </en")
    pieces, row = grow(tiny_tokenizer, ids, stop=["</end>"])
    assert "".join(pieces) == "the sea </en"
    assert row.finish_reason == "length"
