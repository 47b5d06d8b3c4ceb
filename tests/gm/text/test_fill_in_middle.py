"""Prompts for the text between two others, over the tiny vocabulary with four more names."""

import dataclasses

import numpy as np
import pytest

from gemma.gm.ckpts import Strings
from gemma.gm.text import (
    PieceKind,
    Tokenizer,
    Vocabulary,
    fill_in_middle_prompt,
    fill_in_middle_stops,
)

FIM = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
NAMES = [*FIM, "<|file_separator|>"]


def extended(vocabulary: Vocabulary, names: list[str], kind: PieceKind) -> Vocabulary:
    """Returns the vocabulary with more pieces at its end."""
    return dataclasses.replace(
        vocabulary,
        pieces=Strings.of([*vocabulary.pieces, *names]),
        scores=np.append(vocabulary.scores, np.zeros(len(names), np.float32)),
        kinds=np.append(vocabulary.kinds, np.full(len(names), kind, np.uint8)),
    )


@pytest.fixture
def make(tiny_tokenizer):
    """A function from names and their kind to a tokenizer that has them."""

    def make_tokenizer(names=NAMES, kind=PieceKind.CONTROL) -> Tokenizer:
        return Tokenizer(extended(tiny_tokenizer.vocabulary, names, kind))

    return make_tokenizer


@pytest.fixture(params=[PieceKind.CONTROL, PieceKind.USER_DEFINED], ids=str)
def tokenizer(request, make) -> Tokenizer:
    return make(kind=request.param)


def test_the_prompt_is_prefix_suffix_and_a_place_for_the_middle(tokenizer):
    prefix, suffix = "def area(width, height):\n", "for i in range(10)"
    before, between, behind = map(tokenizer.id, FIM)
    assert fill_in_middle_prompt(tokenizer, prefix, suffix) == [
        tokenizer.bos_id,
        before,
        *tokenizer.encode(prefix),
        between,
        *tokenizer.encode(suffix),
        behind,
    ]


def test_nothing_may_stand_before_or_behind(tokenizer):
    prompt = fill_in_middle_prompt(tokenizer, "", "")
    assert prompt == [tokenizer.bos_id, *map(tokenizer.id, FIM)]


def test_names_of_control_tokens_in_the_texts_are_text(make):
    tokenizer = make()
    prompt = fill_in_middle_prompt(tokenizer, "a<|fim_suffix|>b<eos>", "<|fim_middle|>")
    assert [prompt.count(tokenizer.id(name)) for name in FIM] == [1, 1, 1]
    assert tokenizer.eos_id not in prompt


def test_an_answer_ends_at_each_of_the_four(tokenizer):
    assert set(fill_in_middle_stops(tokenizer)) == set(map(tokenizer.id, NAMES))


def test_an_answer_ends_at_those_that_there_are(make, tiny_tokenizer):
    tokenizer = make(FIM)
    assert set(fill_in_middle_stops(tokenizer)) == set(map(tokenizer.id, FIM))
    assert fill_in_middle_stops(tiny_tokenizer) == []


@pytest.mark.parametrize("missing", FIM)
def test_a_tokenizer_without_one_of_them_is_refused(make, missing):
    tokenizer = make([name for name in FIM if name != missing])
    with pytest.raises(ValueError, match="CodeGemma was trained for it") as caught:
        fill_in_middle_prompt(tokenizer, "a", "b")
    assert missing in str(caught.value)
