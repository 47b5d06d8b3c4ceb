"""The sampler of 2024 says what `gm.text.Sampler` says."""

import jax
import numpy as np
import pytest
from tolerances import assert_close

from gemma import gm
from gemma import sampler as sampler_lib
from gemma.gm.text._decode import decode_steps
from gemma.gm.text._prefill import feed_chunk
from gemma.sampler import Sampler
from gemma.transformer import Transformer, TransformerConfig

RAGGED = ["in", "I am in the house", "the sea is"]
STEPS = 9
EOS, END_OF_TURN = 1, 6


@pytest.fixture
def sampler(gemma1, vocab) -> Sampler:
    return Sampler(gemma1.transformer, vocab, gemma1.tree)


@pytest.fixture
def always(gemma1, vocab):
    """A function from a token to a sampler whose model says that and nothing else."""

    def make(token_id: int) -> Sampler:
        # Layers of zeros add nothing: the head sees the direction of ones.
        tree = jax.tree.map(np.zeros_like, gemma1.tree)
        table = np.full((480, 32), 0.01, np.float32)
        table[token_id] = 1.0
        tree["embedder"]["input_embedding"] = table
        return Sampler(gemma1.transformer, vocab, tree)

    return make


@pytest.mark.slow
def test_text_and_tokens_are_those_of_gm(old, vocab, tiny_tokenizer):
    # Sentencepiece reads bytes that are no text in another way than we do, and answers
    # of 2024 go on after the end of a turn.
    is_byte, size = tiny_tokenizer.is_byte, tiny_tokenizer.vocab_size
    forbidden = [END_OF_TURN, *filter(is_byte, range(size))]
    sampler = Sampler(old.transformer, vocab, old.tree)
    found = sampler(RAGGED, STEPS, forbidden_tokens=forbidden)
    expected = gm.text.Sampler(
        model=old.ours.model, params=old.ours.params, tokenizer=tiny_tokenizer
    ).generate(RAGGED, max_new_tokens=STEPS, forbidden_tokens=forbidden)
    assert found.tokens == [list(answer.token_ids) for answer in expected]
    assert found.text == [answer.text for answer in expected]


@pytest.mark.slow
def test_ragged_batch_says_what_each_row_says_alone(sampler):
    together = sampler(RAGGED, STEPS)
    for row, string in enumerate(RAGGED):
        alone = sampler([string], STEPS)
        assert alone.text == [together.text[row]]
        assert alone.tokens == [together.tokens[row]]
        assert_close(alone.logits[0], together.logits[row], law="batched")


@pytest.mark.slow
def test_either_kind_of_tokenizer(gemma1, sampler, tiny_tokenizer):
    ours = Sampler(gemma1.transformer, tiny_tokenizer, gemma1.tree)(RAGGED, STEPS)
    theirs = sampler(RAGGED, STEPS)
    assert ours.tokens == theirs.tokens


def test_each_token_is_the_largest_of_its_logits(sampler):
    found = sampler(RAGGED, STEPS)
    for tokens, logits in zip(found.tokens, found.logits, strict=True):
        assert logits.dtype == np.float32
        assert logits.shape == (len(tokens), 480)
        assert logits.argmax(axis=-1).tolist() == tokens


@pytest.mark.slow
def test_echo_puts_the_prompt_in_front(sampler):
    plain, echoed = sampler(RAGGED, STEPS), sampler(RAGGED, STEPS, echo=True)
    for row, string in enumerate(RAGGED):
        prompt = sampler.tokenize(string)
        assert echoed.tokens[row] == prompt + plain.tokens[row]
        assert echoed.text[row].startswith(string)
        assert not echoed.logits[row][0].any(), "nothing chose the <bos>"
        assert_close(echoed.logits[row][len(prompt) :], plain.logits[row], law="cached")


def test_echoed_logits_are_those_after_the_token_before(gemma1, sampler):
    echoed = sampler(["in the"], 3, echo=True)
    tokens = np.array(echoed.tokens, np.int32)
    expected = gemma1.ours.apply(tokens).logits[:, :-1]
    assert_close(echoed.logits[0][1:], expected[0], law="cached")


def test_bos_goes_in_front(sampler, vocab):
    assert sampler.tokenize("in the") == [2, *vocab.EncodeAsIds("in the")]


@pytest.mark.slow
def test_answer_ends_with_eos(always):
    found = always(EOS)(["in the", "I"], 5)
    assert found.tokens == [[EOS], [EOS]]
    assert found.text == ["", ""]
    assert [logits.shape for logits in found.logits] == [(1, 480)] * 2


def test_end_of_turn_does_not_end_an_answer(always):
    assert always(END_OF_TURN)(["in"], 3).tokens == [[END_OF_TURN] * 3]


def test_forbidden_tokens_are_never_chosen(sampler, vocab):
    first = sampler(["in the"], STEPS).tokens[0]
    found = sampler(["in the"], STEPS, forbidden_tokens=first)
    assert not set(first) & set(found.tokens[0])
    assert np.isneginf(found.logits[0][:, first]).all()
    piece = vocab.IdToPiece(first[0])
    assert first[0] not in sampler(["in the"], 1, forbidden_tokens=[piece]).tokens[0]


def test_logits_that_nobody_asked_for(sampler):
    assert sampler(["in"], 2, return_logits=False).logits == []


def test_no_strings(sampler):
    found = sampler([], 3)
    assert (found.text, found.tokens, found.logits) == ([], [], [])


@pytest.mark.slow
def test_answer_that_is_longer_than_the_cache(gemma1, vocab, sampler):
    """A small cache grows: nothing is forgotten."""
    config = gemma1.ours.model.config
    large = Transformer(TransformerConfig.of(config, 64))
    expected = Sampler(large, vocab, gemma1.tree)(RAGGED, 40)
    assert sampler(RAGGED, 40).tokens == expected.tokens


@pytest.mark.slow
def test_same_sizes_compile_nothing_anew(sampler):
    programs = [feed_chunk, decode_steps, sampler_lib._logits]
    assert sampler(["in", "the sea is"], STEPS).logits
    compiled = [program._cache_size() for program in programs]
    for strings in (["the sea is", "in"], ["the sea is", "the sea is"]):
        assert sampler(strings, STEPS, forbidden_tokens=[20]).logits
    assert [program._cache_size() for program in programs] == compiled


def test_second_sampler_compiles_nothing(gemma1, vocab, sampler):
    sampler(["in"], 2)
    compiled = [program._cache_size() for program in (feed_chunk, decode_steps)]
    Sampler(gemma1.transformer, vocab, gemma1.tree)(["in"], 2)
    assert [p._cache_size() for p in (feed_chunk, decode_steps)] == compiled


def test_arrays_of_the_host_do_as_well(gemma1, vocab, sampler):
    hosted = Sampler(gemma1.transformer, vocab, jax.device_get(gemma1.tree))
    assert hosted(["in the"], 4).tokens == sampler(["in the"], 4).tokens


def test_dtype_is_that_of_the_activations(gemma1, vocab, sampler):
    assert sampler.dtype == np.float32
    half = Sampler(gemma1.transformer, vocab, gemma1.tree, dtype=np.float16)
    assert half.dtype == np.float16


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"input_strings": "in"}, TypeError, r"one string; pass a list: \['in'\]"),
        ({"total_generation_steps": 0}, ValueError, "is 0; it must be 1 or more"),
        ({"forbidden_tokens": "in"}, TypeError, r"one string; pass a list: \['in'\]"),
        ({"forbidden_tokens": ["in the sea"]}, ValueError, "is .* tokens"),
        ({"forbidden_tokens": [480]}, ValueError, "480, outside the vocabulary"),
    ],
)
def test_bad_options(sampler, options, error, message):
    good = {"input_strings": ["in"], "total_generation_steps": 2}
    with pytest.raises(error, match=message):
        sampler(**good | options)


def test_whole_params_instead_of_the_tree(gemma1, vocab):
    with pytest.raises(
        ValueError, match=r"Pass what is in it: params\['transformer'\]"
    ):
        Sampler(gemma1.transformer, vocab, {"transformer": gemma1.tree})


def test_params_of_another_model(gemma1, tiny_model, vocab):
    other = tiny_model("gemma2_gqa")
    tree = gm.ckpts.to_deepmind(other.params, other.model.config)
    with pytest.raises(ValueError, match=r"lack|have|has shape"):
        Sampler(gemma1.transformer, vocab, tree)
