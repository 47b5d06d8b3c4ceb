"""A sampler that knows no text, and tokenizers that end answers otherwise."""

import pickle

import pytest

from gemma.gm.text import Sampler, TokenIds, Tokenizer

PROMPT = [2, 31, 77, 9]


def sampler(tiny, tokenizer):
    return Sampler(
        model=tiny.model, params=tiny.params, tokenizer=tokenizer, cache_length=48
    )


@pytest.mark.slow
def test_same_tokens_and_no_text(tiny_model, tiny_tokenizer):
    tiny = tiny_model("gemma3_mqa")
    expected = sampler(tiny, tiny_tokenizer).generate(PROMPT, max_new_tokens=6)
    ids = TokenIds(480, stop_ids=tiny_tokenizer.stop_ids)
    found = sampler(tiny, ids).generate(PROMPT, max_new_tokens=6)
    assert found.token_ids == expected.token_ids
    assert found.text == ""


@pytest.mark.slow
def test_answers_end_where_the_tokenizer_says(tiny_model, tiny_tokenizer):
    tiny = tiny_model("gemma3_mqa")
    free = Tokenizer(tiny_tokenizer.vocabulary, stop_ids=())
    whole = sampler(tiny, free).generate(PROMPT, max_new_tokens=8).token_ids
    end = whole[3]
    cut = Tokenizer(tiny_tokenizer.vocabulary, stop_ids=[end])
    found = sampler(tiny, cut).generate(PROMPT, max_new_tokens=8)
    assert found.token_ids == whole[: whole.index(end) + 1]
    assert found.finish_reason == "stop"


@pytest.mark.parametrize(
    "ask",
    [
        lambda ids: ids.encode("a"),
        lambda ids: ids.id("a"),
        lambda ids: ids.bos_id,
        lambda ids: ids.piece(3),
    ],
)
def test_text_is_refused(ask):
    with pytest.raises(ValueError, match="There is no tokenizer: pass token ids"):
        ask(TokenIds(50))


def test_pickled_and_back_is_the_same(tiny_tokenizer):
    ids = pickle.loads(pickle.dumps(TokenIds(50, stop_ids=[1])))
    assert (ids.vocab_size, ids.stop_ids) == (50, (1,))
    cut = Tokenizer(tiny_tokenizer.vocabulary, stop_ids=[7])
    assert pickle.loads(pickle.dumps(cut)).stop_ids == (7,)
