"""Chat = one run over the conversation written down from scratch."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

from gemma.gm.dialog import Conversation, Turn
from gemma.gm.text import ChatSampler, Sampler, Sampling
from gemma.gm.text._prompts import EncodedPrompt

QUESTIONS = [
    "The rain is on the roof",
    "д",
    " and the garden?\n",
    "the sea, the sea",
    "in the house",
    "why",
]
# Answers of a random model never end by themselves.
RANDOM = Sampling(temperature=1.0)


@pytest.fixture(scope="module")
def make_chat(tiny_model, tiny_tokenizer):
    """A function from a model to a chat over rings that are passed in each turn."""

    def make(name: str, *, rewind_length: int = 12, **options) -> ChatSampler:
        tiny = tiny_model(name)
        loaded = {
            "model": tiny.model,
            "params": tiny.params,
            "tokenizer": tiny_tokenizer,
            "cache_length": 320,
        }
        chat = ChatSampler(**loaded, multi_turn=True, **options)
        chat._sampler = Sampler(
            **loaded, prefill_chunk_length=8, rewind_length=rewind_length
        )
        return chat

    return make


def fresh_answer(chat: ChatSampler, question: str, **options):
    """Returns what a sampler without a memory answers to the whole conversation."""
    conversation = chat.conversation + Turn.user(question)
    return chat.sampler.generate(conversation, **options)


def assert_state_is_that_of_its_tokens(chat: ChatSampler, tiny) -> None:
    ids = chat.last_state.token_ids[0]
    padded = jnp.array([[*ids, *[0] * (320 - len(ids))]])
    whole = tiny.apply(padded).logits[:, len(ids) - 1]
    assert_close(chat.last_state.logits, whole, law="cached")


def stop_early(pieces, count: int) -> str:
    """Reads some pieces and goes away, as after Ctrl-C."""
    texts = [next(pieces).text for _ in range(count)]
    pieces.close()
    return "".join(texts)


@pytest.mark.slow
@pytest.mark.parametrize("rewind_length", [8, 40])
@pytest.mark.parametrize("name", ["gemma3_mqa", "gemma2_gqa"])
def test_six_turns_equal_one_run_each(name, rewind_length, make_chat, tiny_model):
    """Turns end by their own token, by their length, by a string, and by Ctrl-C."""
    chat = make_chat(name, rewind_length=rewind_length)
    end = chat.sampler.tokenizer.id("<end_of_turn>")
    eager = dataclasses.replace(RANDOM, logit_bias={end: 12.0})
    reasons = []
    for i, question in enumerate(QUESTIONS):
        options = {"max_new_tokens": 9 + i, "rng": i, "sampling": RANDOM}
        if i % 3 == 1:
            options |= {"sampling": eager}
        if i % 3 == 2:
            text = fresh_answer(chat, question, **options).text
            options |= {"stop": [text[4:6]]}
        expected = fresh_answer(chat, question, **options)
        reasons.append((expected.finish_reason, "stop" in options))
        assert chat.chat(question, **options) == expected.text
        assert chat.last_state.token_ids[0] == (
            *expected.prompt_ids,
            *expected.token_ids,
        )
        assert_state_is_that_of_its_tokens(chat, tiny_model(name))
    assert {("length", False), ("stop", False), ("stop", True)} <= set(reasons)
    window = chat.sampler.model.config.layers[0].window
    assert len(chat.last_state.token_ids[0]) > 3 * (window + rewind_length)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 5, 7])
def test_an_answer_that_was_left_is_what_was_shown(count, make_chat, tiny_model):
    chat = make_chat("gemma3_mqa")
    chat.chat(QUESTIONS[0], max_new_tokens=11)
    shown = stop_early(chat.stream(QUESTIONS[2], max_new_tokens=20), count)
    assert [turn.text for turn in chat.turns[2:]] == [QUESTIONS[2], shown]
    options = {"max_new_tokens": 8, "rng": 1, "sampling": RANDOM}
    expected = fresh_answer(chat, "why", **options)
    assert chat.chat("why", **options) == expected.text
    assert_state_is_that_of_its_tokens(chat, tiny_model("gemma3_mqa"))


@pytest.mark.slow
def test_a_turn_computes_its_own_tokens_only(make_chat, monkeypatch):
    """What the cache holds is not fed again: the answer, and all turns before."""
    chat, fed = make_chat("gemma3_mqa"), []
    programs = chat.sampler._runtime(1, with_logits=False).programs
    feeds = {
        length: lambda *call, feed=feed: fed.append(int(call[3].sum())) or feed(*call)
        for length, feed in programs.feed_chunk.items()
    }
    chat.sampler._programs = {1: programs._replace(feed_chunk=feeds)}
    # Letters: what is drawn among them is also what the tokenizer makes of the text.
    tokenizer = chat.sampler.tokenizer
    letters = [tokenizer.id(letter) for letter in "xyzq"]
    others = [i for i in range(tokenizer.vocab_size) if i not in letters]
    chat.forbidden_tokens = tuple(others)
    for turn, question in enumerate(QUESTIONS):
        before = chat.last_state and len(chat.last_state.token_ids[0])
        fed.clear()
        chat.chat(question, max_new_tokens=10)
        new = len(chat.last_state.token_ids[0]) - 10 - (before or 0)
        # The last token of the prompt is the decode step's; that of the last answer
        # was never fed.
        assert sum(fed) == (new if turn else new - 1)


def test_conversation_may_be_resumed(make_chat):
    """From turns alone, and from turns and a state."""
    chat = make_chat("gemma2_gqa")
    chat.chat(QUESTIONS[0], max_new_tokens=6)
    options = {"max_new_tokens": 6}
    resumed = make_chat("gemma2_gqa", turns=chat.turns)
    with_state = make_chat("gemma2_gqa", turns=chat.turns)
    with_state._sampler, with_state.last_state = chat.sampler, chat.last_state
    expected = fresh_answer(chat, "why", **options).text
    assert resumed.chat("why", **options) == expected
    assert with_state.chat("why", **options) == expected


@pytest.mark.slow
def test_two_continuations_of_one_state(make_chat):
    """The first does not disturb the second, nor the state."""
    chat = make_chat("gemma3_mqa")
    chat.chat(QUESTIONS[0], max_new_tokens=9)
    other, state = chat.fork(), chat.last_state
    logits = np.asarray(state.logits)
    expected = [fresh_answer(chat, q, max_new_tokens=9).text for q in ("why", "д")]
    assert chat.chat("why", max_new_tokens=9) == expected[0]
    assert other.chat("д", max_new_tokens=9) == expected[1]
    assert len(chat.turns) == len(other.turns) == 4
    np.testing.assert_array_equal(jnp.asarray(state.cache["end"]), len_of(state) - 1)
    again = dataclasses.replace(state)  # without the logits it remembers
    np.testing.assert_array_equal(again.logits, logits)


def len_of(state) -> int:
    return len(state.token_ids[0])


@pytest.mark.slow
def test_text_goes_on_from_a_state(tiny_sampler):
    """Sampler: a prompt in two parts is one prompt, alone and in a batch."""
    sampler = tiny_sampler("gemma3_mqa")
    first = ["The rain", "д", "in the house of"]
    whole = sampler.generate(
        [[*sampler.encode(text), 20, 30] for text in first], max_new_tokens=8
    )
    state = sampler.sample(first, max_new_tokens=2, return_state=True).state
    begun = dataclasses.replace(
        state, prompts=tuple(EncodedPrompt(sampler.encode(text)) for text in first)
    )
    parts = sampler.generate([[20, 30]] * 3, max_new_tokens=8, last_state=begun)
    assert parts == whole


@pytest.mark.slow
def test_dropping_the_oldest_turns_keeps_the_system_prompt(make_chat):
    chat = make_chat("gemma3_mqa", system="the sea", drop_oldest=True)
    for i in range(12):
        chat.chat(f"{QUESTIONS[i % 6]} and the garden and the roof", max_new_tokens=16)
        expected = chat.conversation
        assert expected.turns[0] == Turn.system("the sea")
        ids = chat.sampler.encode(Conversation(expected.turns[:-1]))
        assert chat.last_state.token_ids[0][: len(ids)] == tuple(ids)
    assert 2 <= len(chat.turns) < 24
    assert chat.turns[-2].text.startswith(QUESTIONS[5])
