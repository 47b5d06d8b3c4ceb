"""Padded = unpadded: what a mask hides has no influence, on either side."""

import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

LENGTH, WIDTH = 11, 17


def padded(tokens: np.ndarray, side: str, filler: int):
    """Returns tokens [2, WIDTH] and mask, the second row with one token less."""
    rows = np.full((2, WIDTH), filler, np.int32)
    mask = np.zeros((2, WIDTH), bool)
    for row, length in enumerate((LENGTH, LENGTH - 1)):
        begin = WIDTH - length if side == "left" else 0
        rows[row, begin : begin + length] = tokens[row, :length]
        mask[row, begin : begin + length] = True
    return rows, mask


@pytest.mark.slow
@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_equals_unpadded(tiny, side, random_tokens):
    tokens = np.asarray(random_tokens((2, LENGTH)))
    expected = tiny.apply(jnp.asarray(tokens)).logits
    rows, mask = padded(tokens, side, filler=0)
    logits = tiny.apply(rows, mask=mask).logits
    assert_close(logits[0][mask[0]], expected[0], law="padding")
    assert_close(logits[1][mask[1]], expected[1, :-1], law="padding")


@pytest.mark.slow
@pytest.mark.parametrize("side", ["left", "right"])
def test_what_is_padded_with_does_not_matter(tiny_model, side, random_tokens):
    tiny, tokens = (
        tiny_model("gemma3_gqa_stretched"),
        np.asarray(random_tokens((2, 11))),
    )
    rows, mask = padded(tokens, side, filler=0)
    others, _ = padded(tokens, side, filler=77)
    first = tiny.apply(rows, mask=mask).logits
    second = tiny.apply(others, mask=mask).logits
    assert_close(first[mask], second[mask], law="identical")


@pytest.mark.slow
@pytest.mark.parametrize("side", ["left", "right"])
def test_last_only_is_the_last_real_token(tiny_model, side, random_tokens):
    tiny, tokens = tiny_model("gemma2_gqa"), np.asarray(random_tokens((2, LENGTH)))
    rows, mask = padded(tokens, side, filler=0)
    last = tiny.apply(rows, mask=mask, last_only=True).logits
    whole = tiny.apply(rows, mask=mask).logits
    place = [np.flatnonzero(row)[-1] for row in mask]
    assert_close(last, whole[np.arange(2), place], law="padding")


def test_row_of_padding_alone_is_finite(tiny_model):
    """A row that sees nothing gives numbers, and does not spoil its neighbour."""
    tiny = tiny_model("gemma2_gqa")
    mask = np.array([[True] * 4, [False] * 4])
    logits = tiny.apply(np.full((2, 4), 9, np.int32), mask=mask).logits
    assert np.isfinite(logits).all()
