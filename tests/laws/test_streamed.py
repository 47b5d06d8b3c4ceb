"""Stream = generate: the pieces of a stream, joined, are the text."""

import pytest

from gemma.gm.text import Sampling

PROMPTS = ["The rain is on the roof", "д", "the garden and the"]
# Hot enough that each of a few tokens comes up in any order.
HOT = {"sampling": Sampling(temperature=9.0), "rng": [11, 12, 13]}
RANDOM = {"sampling": Sampling(temperature=1.0), "rng": [11, 12, 13]}


@pytest.fixture
def sampler(tiny_sampler):
    return tiny_sampler("gemma2_gqa")


def only_tokens(sampler, pieces: list[str]) -> list[int]:
    """Returns the tokens to forbid so that only these pieces remain."""
    allowed = {sampler.tokenizer.id(piece) for piece in pieces}
    return [i for i in range(sampler.tokenizer.vocab_size) if i not in allowed]


def check_stream(sampler, options) -> list:
    generations = sampler.generate(PROMPTS, **options)
    pieces = list(sampler.stream(PROMPTS, **options))
    for row, generation in enumerate(generations):
        mine = [piece for piece in pieces if piece.row == row]
        assert "".join(piece.text for piece in mine) == generation.text
        assert tuple(piece.token_id for piece in mine) == generation.token_ids
        assert mine[-1].finish_reason == generation.finish_reason
        assert all(piece.finish_reason is None for piece in mine[:-1])
    return generations


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_stream_equals_generate(sampler, seed):
    options = RANDOM | {"rng": seed, "max_new_tokens": 16}
    for generation in check_stream(sampler, options):
        decoded = sampler.tokenizer.decode(
            generation.token_ids, skip_control_tokens=True
        )
        assert generation.text == decoded


@pytest.mark.slow
def test_characters_of_several_tokens(sampler):
    """Bytes that make é and 星, or nothing valid, between pieces that are whole."""
    names = [f"<0x{byte:02X}>" for byte in "é星".encode()]
    forbidden = only_tokens(sampler, [*names, "▁the", "in"])
    options = HOT | {"max_new_tokens": 24, "forbidden_tokens": forbidden}
    generations = check_stream(sampler, options)
    for generation in generations:
        decoded = sampler.tokenizer.decode(generation.token_ids)
        assert generation.text == decoded
    assert any("\ufffd" in generation.text for generation in generations)


@pytest.mark.slow
def test_whole_characters_only(sampler):
    """Nothing is shown after a byte, since the next may change what it stands for."""
    forbidden = only_tokens(sampler, ["<0xC3>", "<0xA9>", "in"])
    options = HOT | {"max_new_tokens": 24, "forbidden_tokens": forbidden}
    text = dict.fromkeys(range(3), "")
    for piece in sampler.stream(PROMPTS, **options):
        if sampler.tokenizer.is_byte(piece.token_id) and piece.finish_reason is None:
            assert piece.text == ""
        text[piece.row] += piece.text
    assert "é" in "".join(text.values())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_stop_strings_cut_the_text(sampler, seed):
    """With a stop string, the text is that without it, cut where the string begins."""
    options = RANDOM | {"max_new_tokens": 16, "rng": seed}
    free = sampler.generate(PROMPTS, **options)
    for length in (1, 3):
        middle = len(free[0].text) // 2
        stop = [free[0].text[middle : middle + length], "never"]
        cut = check_stream(sampler, options | {"stop": stop})
        assert cut[0].finish_reason == "stop"
        for one, other in zip(free, cut, strict=True):
            start = one.text.find(stop[0])
            assert other.text == (one.text if start < 0 else one.text[:start])
            num_tokens = len(other.token_ids)
            assert other.token_ids == one.token_ids[:num_tokens]
