"""The conversation's front door; that turns cost and say the right thing is a law."""

import functools

import pytest

from gemma.gm.dialog import Conversation, Turn
from gemma.gm.text import ChatSampler, Sampler, Sampling

QUESTION = "The rain is on the roof"


CACHE_LENGTH = 120


@pytest.fixture(scope="module")
def make(tiny_model, tiny_tokenizer):
    """A function that returns a chat; all share one sampler, and what it compiled."""

    @functools.cache
    def shared_sampler(name: str) -> Sampler:
        tiny = tiny_model(name)
        return Sampler(
            model=tiny.model,
            params=tiny.params,
            tokenizer=tiny_tokenizer,
            cache_length=CACHE_LENGTH,
            prefill_chunk_length=32,
        )

    def make_chat(name: str = "gemma3_mqa", **options) -> ChatSampler:
        sampler = shared_sampler(name)
        chat = ChatSampler(
            model=sampler.model,
            params=sampler.params,
            tokenizer=tiny_tokenizer,
            cache_length=CACHE_LENGTH,
            **({"multi_turn": True} | options),
        )
        chat._sampler = sampler
        return chat

    return make_chat


def test_tokenizer_is_that_of_the_checkpoint(make, tiny_model):
    tiny = tiny_model("gemma3_mqa")
    with pytest.raises(ValueError, match="does not know its tokenizer"):
        ChatSampler(model=tiny.model, params=tiny.params)


def test_the_sampler_is_there(make):
    assert isinstance(make().sampler, Sampler)


@pytest.mark.slow
def test_without_multi_turn_each_question_is_the_first(make):
    chat = make(multi_turn=False)
    first = chat.chat(QUESTION, max_new_tokens=5)
    assert chat.chat(QUESTION, max_new_tokens=5) == first
    assert [turn.text for turn in chat.turns] == [QUESTION, first]


@pytest.mark.slow
def test_one_call_may_differ(make):
    chat = make(multi_turn=False)
    chat.chat(QUESTION, max_new_tokens=4)
    chat.chat("д", max_new_tokens=4, multi_turn=True)
    assert len(chat.turns) == 4
    chat.chat("д", max_new_tokens=4)
    assert len(chat.turns) == 2


@pytest.mark.slow
def test_text_is_printed_as_it_is_made(make, capsys):
    chat = make(print_stream=True)
    answer = chat.chat(QUESTION, max_new_tokens=5)
    assert capsys.readouterr().out == answer
    texts = []
    answer = chat.chat("д", max_new_tokens=5, print_stream=texts.append)
    assert "".join(texts) == answer
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_tags_are_no_part_of_an_answer(make):
    chat = make()
    end = chat.sampler.tokenizer.id("<end_of_turn>")
    chat.chat(QUESTION, sampling=Sampling(logit_bias={end: 100.0}))
    assert chat.turns[-1].text == ""
    assert chat.last_state.token_ids[0][-1] == end


@pytest.mark.slow
def test_what_a_user_types_is_no_control_token(make):
    chat = make()
    chat.chat("a<end_of_turn>b", max_new_tokens=2)
    end = chat.sampler.tokenizer.id("<end_of_turn>")
    assert chat.last_state.token_ids[0].count(end) == 1


@pytest.mark.slow
def test_undo_takes_question_and_answer_back(make):
    chat = make()
    chat.chat(QUESTION, max_new_tokens=4)
    second = chat.chat("д", max_new_tokens=4)
    assert chat.undo() == Turn.user("д")
    assert len(chat.turns) == 2
    assert chat.chat("д", max_new_tokens=4) == second


def test_undo_of_nothing_is_refused(make):
    with pytest.raises(ValueError, match="There is no turn to take back"):
        make().undo()


@pytest.mark.slow
def test_reset_forgets(make):
    chat = make(system="the sea")
    first = chat.chat(QUESTION, max_new_tokens=4)
    chat.reset()
    assert (chat.turns, chat.last_state, chat.system) == ([], None, "the sea")
    assert chat.chat(QUESTION, max_new_tokens=4) == first


def test_a_conversation_may_be_set(make):
    chat = make()
    whole = Conversation(
        (Turn.system("the sea"), Turn.user("д"), Turn.model("the rain"))
    )
    chat.conversation = whole
    assert chat.conversation == whole
    assert (chat.system, len(chat.turns)) == ("the sea", 2)


def test_turns_that_are_no_conversation_are_refused(make):
    with pytest.raises(ValueError, match="out of place"):
        make(turns=[Turn.model("the rain")])
    chat = make()
    with pytest.raises(ValueError, match="out of place"):
        chat.conversation = Conversation((Turn.user("a"), Turn.user("b")))
    assert chat.turns == []


def test_system_prompt_of_a_family_without_one_is_refused(make):
    with pytest.raises(ValueError, match="Gemma 1 has none"):
        make("gemma1_mqa", system="the sea").chat(QUESTION)


@pytest.mark.parametrize("prompt", ["", Turn.model("the rain")])
def test_what_is_no_question_is_refused_and_changes_nothing(make, prompt):
    chat = make()
    with pytest.raises(ValueError, match=r"empty|out of place"):
        chat.chat(prompt)
    assert chat.turns == []


def test_conversation_that_does_not_fit_is_an_error_with_a_way_out(make):
    chat = make(multi_turn=False)
    chat.turns = [Turn.user("д"), Turn.model("д")]
    with pytest.raises(ValueError, match=r"cache holds 120 .* drop_oldest=True"):
        chat.chat("the rain " * 60, multi_turn=True)
    assert len(chat.turns) == 2
    with pytest.raises(ValueError, match=r"Prompt has .* the cache holds 120"):
        make(drop_oldest=True).chat("the rain " * 60)


@pytest.mark.slow
def test_a_full_cache_is_not_computed_again_in_each_turn(make):
    """With short answers one turn was dropped in each turn, so nothing was reused."""
    chat = make(drop_oldest=True)
    num_drops = 0
    for _ in range(24):
        before = len(chat.turns)
        chat.chat("the rain", max_new_tokens=1)
        num_drops += len(chat.turns) <= before
    assert 2 <= num_drops <= 12  # it was each of 17 turns with a full cache


def test_answers_longer_than_their_limit_are_refused(make):
    chat = make(max_out_length=10)
    with pytest.raises(ValueError, match="max_new_tokens is 11 but max_out_length is"):
        chat.chat(QUESTION, max_new_tokens=11)


def test_an_answer_of_no_tokens_is_refused(make):
    with pytest.raises(ValueError, match="max_new_tokens is 0; it must be 1 or more"):
        make().chat(QUESTION, max_new_tokens=0)


@pytest.mark.slow
def test_answers_end_at_their_limit(make):
    chat = make(max_out_length=3)
    chat.chat(QUESTION)
    prompt = chat.sampler.encode(Conversation((Turn.user(QUESTION),)))
    assert len(chat.last_state.token_ids[0]) == len(prompt) + 3


@pytest.mark.slow
def test_forbidden_tokens_never_come(make):
    best = make().sampler.generate(
        Conversation((Turn.user(QUESTION),)), max_new_tokens=1
    )
    chat = make(forbidden_tokens=list(best.token_ids))
    chat.chat(QUESTION, max_new_tokens=8)
    answer = chat.last_state.token_ids[0][len(best.prompt_ids) :]
    assert best.token_ids[0] not in answer


@pytest.mark.slow
def test_an_error_on_the_way_leaves_no_turn_behind(make, monkeypatch):
    chat = make()
    pieces = chat.stream(QUESTION, max_new_tokens=8)
    next(pieces)
    monkeypatch.setattr("gemma.gm.text._generation.GrowingRow.push", lambda *_: [][0])
    with pytest.raises(IndexError):
        list(pieces)
    assert chat.turns == []


@pytest.mark.slow
def test_states_of_other_samplers_are_refused(make, tiny_sampler):
    sampler = tiny_sampler("gemma3_mqa")
    state = sampler.sample("д", max_new_tokens=1, return_state=True).state
    other = tiny_sampler("gemma2_gqa")
    with pytest.raises(ValueError, match="made by another sampler"):
        other.stream("д", last_state=state)
    with pytest.raises(ValueError, match="last_state has 1 rows for 2 prompts"):
        sampler.stream(["д", "д"], last_state=state)
