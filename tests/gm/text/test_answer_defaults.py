"""Options that samplers are made with, and that calls override."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma import gm
from gemma.gm.dialog import Conversation, Turn
from gemma.gm.text import ChatSampler, Sampler, SamplingMethod

NAME = "gemma2_gqa"
PROMPT = "the world"


@pytest.fixture(scope="module")
def make(tiny_model, tiny_tokenizer):
    def build(kind=Sampler, name=NAME, **options):
        tiny = tiny_model(name)
        parts = {"model": tiny.model, "params": tiny.params}
        options = {"cache_length": 48, **options}
        return kind(**parts, tokenizer=tiny_tokenizer, **options)

    return build


@dataclasses.dataclass(frozen=True, kw_only=True)
class SecondBest(SamplingMethod):
    """Names the axis of the batch, as methods of DeepMind's users may."""

    place: int = 1

    def get_next_tokens(self, logits, rng):
        return jnp.argsort(logits, axis=1, descending=True)[:, self.place]


@dataclasses.dataclass(frozen=True)
class Drawn(SamplingMethod):
    temperature: float = 2.0

    def get_next_tokens(self, logits, rng):
        return jax.random.categorical(rng, logits / self.temperature, axis=-1)


@dataclasses.dataclass(frozen=True)
class Wrong:
    """Returns something else than a token a row."""

    kind: str

    def get_next_tokens(self, logits, rng):
        return logits.max(-1) if self.kind == "floats" else jnp.argmax(logits)


def tokens(sampler, **options):
    options = {"max_new_tokens": 6, **options}
    return sampler.generate(PROMPT, **options).token_ids


# Constructor arguments


def test_sampling_of_the_constructor_and_of_a_call(make):
    random = gm.text.RandomSampling(temperature=2.0)
    plain, hot = make(), make(sampling=random)
    assert hot.sampling == random
    drawn = tokens(plain, sampling=random, rng=3)
    assert tokens(hot, rng=3) == drawn
    assert tokens(hot, sampling=gm.text.Greedy()) == tokens(plain) != drawn
    hot.sampling = gm.text.Greedy()
    assert tokens(hot) == tokens(plain)


def test_forbidden_tokens_of_the_constructor_and_of_a_call(make):
    plain = make()
    first, *_ = tokens(plain)
    strict = make(forbidden_tokens=[first])
    assert first not in tokens(strict)
    assert tokens(strict) == tokens(plain, forbidden_tokens=[first])
    assert tokens(strict, forbidden_tokens=()) == tokens(plain)
    assert strict.forbidden_tokens == (first,)


def test_stop_tokens_of_the_constructor_and_of_a_call(make):
    plain = make()
    whole = tokens(plain)
    end = whole[2]
    found = make(stop_tokens=[end]).generate(PROMPT, max_new_tokens=6)
    assert found.token_ids == whole[: whole.index(end) + 1]
    assert found.finish_reason == "stop"
    assert tokens(make(stop_tokens=[end]), stop_tokens=()) == whole


@pytest.mark.parametrize("kind", [Sampler, ChatSampler])
def test_max_out_length(make, kind):
    sampler = make(kind, max_out_length=3)
    assert sampler.max_out_length == 3
    ask = sampler.sample if kind is Sampler else sampler.chat
    with pytest.raises(ValueError, match="max_out_length is 3"):
        ask(PROMPT, max_new_tokens=4)
    if kind is Sampler:
        assert len(tokens(sampler, max_new_tokens=None)) <= 3
    else:
        assert len(list(sampler.stream(PROMPT))) <= 3


@pytest.mark.parametrize("kind", [Sampler, ChatSampler])
@pytest.mark.parametrize("pad_length", [None, 256, (256, 512, 1024)])
def test_pad_length_changes_nothing(make, kind, pad_length):
    sampler = make(kind, pad_length=pad_length)
    assert sampler.pad_length == pad_length


@pytest.mark.parametrize("kind", [Sampler, ChatSampler])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_out_length": 0}, ValueError, "max_out_length is 0; it must be 1"),
        ({"max_out_length": 2.5}, TypeError, "max_out_length is 2.5"),
        ({"pad_length": 0}, ValueError, "pad_length is 0"),
        ({"pad_length": (4, "x")}, TypeError, "pad_length is 'x'"),
        ({"stop_tokens": "x"}, TypeError, r"stop_tokens=\['x'\]"),
        ({"forbidden_tokens": "x"}, TypeError, r"forbidden_tokens=\['x'\]"),
    ],
)
def test_options_that_cannot_be(make, kind, options, error, message):
    with pytest.raises(error, match=message):
        make(kind, **options)


@pytest.mark.slow
def test_chats_take_the_same_options(make):
    plain = make(ChatSampler, name="gemma3_mqa")
    whole = [piece.token_id for piece in plain.stream(PROMPT, max_new_tokens=6)]
    first, end = whole[0], whole[2]
    shown = []
    chat = make(
        ChatSampler,
        name="gemma3_mqa",
        stop_tokens=[end],
        print_stream=shown.append,
        sampling=gm.text.Sampling(),
    )
    assert [p.token_id for p in chat.stream(PROMPT)] == whole[: whole.index(end) + 1]
    ids = [p.token_id for p in chat.stream(PROMPT, stop_tokens=(), max_new_tokens=6)]
    assert ids == whole
    ids = [p.token_id for p in chat.stream(PROMPT, forbidden_tokens=[first])]
    assert first not in ids
    answer = chat.chat(PROMPT)
    assert "".join(shown) == answer
    assert chat.print_stream == shown.append
    assert chat.stop_tokens == (end,)


# Ways of one's own


@pytest.mark.parametrize("name", [NAME, "gemma3_mqa"])
def test_a_method_of_ones_own(make, name, tiny_model):
    sampler = make(name=name, sampling=SecondBest())
    found = tokens(sampler)
    tiny = tiny_model(name)
    ids = sampler.encode(PROMPT)
    logits = np.array(tiny.apply(jnp.asarray([[*ids, *found]])).logits[0, :, :480])
    logits[:, sampler._image_tokens] = -np.inf
    second = np.argsort(-logits, axis=1)[:, 1]
    assert list(found) == second[len(ids) - 1 : -1].tolist()
    assert tokens(make(name=name), sampling=SecondBest()) == found
    assert tokens(make(name=name), sampling=SecondBest(place=0)) == tokens(
        make(name=name)
    )


def test_draws_of_ones_own_depend_on_seed_and_place_alone(make):
    sampler = make(sampling=Drawn())
    prompts = [PROMPT, "it is", "a"]
    options = {"rng": [5, 6, 7], "max_new_tokens": 5}
    batch = [g.token_ids for g in sampler.generate(prompts, **options)]
    alone = [
        sampler.generate(p, rng=seed, max_new_tokens=5).token_ids
        for p, seed in zip(prompts, [5, 6, 7], strict=True)
    ]
    assert batch == alone
    others = [tokens(sampler, rng=seed) for seed in range(6)]
    assert len(set(others)) > 2
    assert tokens(sampler, rng=4) == others[4]


def test_a_chat_with_a_method_of_ones_own(make):
    chat = make(ChatSampler, sampling=SecondBest(), max_out_length=4)
    found = [piece.token_id for piece in chat.stream(PROMPT)]
    chat = make(ChatSampler, max_out_length=4)
    again = [piece.token_id for piece in chat.stream(PROMPT, sampling=SecondBest())]
    assert found == again


def test_forbidden_tokens_are_minus_infinity_to_a_method(make):
    best = tokens(make(), max_new_tokens=1)[0]
    found = tokens(make(sampling=SecondBest(place=0)), forbidden_tokens=[best])
    assert best not in found


@pytest.mark.parametrize("kind", ["floats", "one for all"])
def test_methods_that_return_no_token_a_row(make, kind):
    with pytest.raises(TypeError, match=r"Wrong.get_next_tokens returned .* \(1,\) is"):
        tokens(make(sampling=Wrong(kind)))


def test_a_method_without_a_hash(make):
    @dataclasses.dataclass
    class Open:
        def get_next_tokens(self, logits, rng):
            return jnp.argmax(logits, -1)

    with pytest.raises(TypeError, match=r"Open, which has no hash.*frozen=True"):
        tokens(make(), sampling=Open())


def test_methods_of_ones_own_are_for_all_rows(make):
    with pytest.raises(
        TypeError, match=r"one object with get_next_tokens\(logits, rng"
    ):
        make().generate([PROMPT, PROMPT], sampling=[SecondBest(), SecondBest()])


# Answers


@pytest.mark.parametrize("name", ["gemma3_mqa", "gemma2_gqa"])
def test_tokens_of_images_never_come(make, name, tiny_tokenizer):
    """A bias that would make them the only answer does not."""
    image = tiny_tokenizer.special_tokens.START_OF_IMAGE
    found = tokens(make(name=name), sampling=gm.text.Sampling(logit_bias={image: 1e9}))
    assert (image in found) == (name == "gemma2_gqa")


def test_ids_without_a_tokenizer_have_no_tokens_of_images(tiny_model):
    tiny = tiny_model("gemma3_mqa")
    sampler = Sampler(
        model=tiny.model,
        params=tiny.params,
        tokenizer=gm.text.TokenIds(480),
        cache_length=48,
    )
    found = sampler.generate(
        [2, 9], sampling=gm.text.Sampling(logit_bias={7: 1e9}), max_new_tokens=2
    )
    assert found.token_ids == (7, 7)


def test_tokens_of_an_output(make):
    sampler = make()
    one = sampler.sample(PROMPT, max_new_tokens=4, return_state=True)
    assert one.tokens.dtype == np.int32
    assert one.tokens.tolist() == list(tokens(sampler, max_new_tokens=4))
    assert sampler.tokenizer.decode(one.tokens, skip_control_tokens=True) == one.text
    both = sampler.sample([PROMPT, "it"], max_new_tokens=3, return_state=True)
    assert [ids.tolist() for ids in both.tokens] == [
        list(g.token_ids) for g in sampler.generate([PROMPT, "it"], max_new_tokens=3)
    ]


# Conversations as prompts


@pytest.fixture
def chat(make):
    options = {"max_out_length": 3, "cache_length": 200, "name": "gemma3_mqa"}
    return make(ChatSampler, multi_turn=True, **options)


def test_a_conversation_is_answered(chat):
    asked = Conversation((Turn.user("a"), Turn.model("it"), Turn.user("the world")))
    answer = chat.chat(asked)
    assert chat.turns == [*asked.turns, Turn.model(answer)]
    more = chat.chat(Conversation((Turn.user("and"),)))
    assert [turn.text for turn in chat.turns[-2:]] == ["and", more]
    expected = chat.sampler.sample(
        Conversation(tuple(chat.turns[:-1])), max_new_tokens=3
    )
    assert more == expected


def test_the_system_prompt_of_a_conversation(chat):
    asked = Conversation((Turn.system("be"), Turn.user("a")))
    chat.chat(asked)
    assert (chat.system, len(chat.turns)) == ("be", 2)
    assert chat.conversation.turns[:2] == asked.turns
    with pytest.raises(
        ValueError, match=r"system prompt comes before all turns: call r"
    ):
        chat.chat(asked)
    chat.chat(asked, multi_turn=False)
    assert len(chat.turns) == 2


@pytest.mark.parametrize(
    "turns", [(), (Turn.system("be"),), (Turn.user("a"), Turn.model("b"))]
)
def test_conversations_that_ask_nothing(chat, turns):
    with pytest.raises(ValueError, match="There is no question to answer"):
        chat.chat(Conversation(turns))
    assert (chat.turns, chat.system) == ([], None)


def test_a_conversation_that_does_not_fit_changes_nothing(chat):
    long = Turn.user("the world " * 200)
    with pytest.raises(ValueError, match="but the cache holds"):
        chat.chat(Conversation((Turn.system("be"), long)))
    assert (chat.turns, chat.system) == ([], None)
