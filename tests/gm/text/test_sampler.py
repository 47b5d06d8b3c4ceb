"""The sampler through its front door."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

from gemma import gm
from gemma.gm.text import Generation, Sampler, Sampling
from gemma.gm.text._decode import decode_steps
from gemma.gm.text._prefill import feed_chunk

DATA = Path(__file__).parents[2] / "data"
PROMPT = "The rain is on the roof"
PROMPTS = [PROMPT, "д", "the garden and the"]
HOT = {"sampling": Sampling(temperature=9.0), "rng": [1, 2, 3]}


@pytest.fixture(scope="module")
def sampler(tiny_sampler):
    """A cache of 48 tokens, and prompts in chunks of 8."""
    return tiny_sampler("gemma2_gqa")


def all_but(sampler, *names: str) -> list[int]:
    """Returns the tokens to forbid so that only these remain."""
    allowed = {sampler.tokenizer.id(name) for name in names}
    return [i for i in range(sampler.tokenizer.vocab_size) if i not in allowed]


def uncached_logprobs(sampler, ids) -> np.ndarray:
    """Returns the log-probabilities of what follows each token, without a cache."""
    padded = jnp.array([[*ids, *[0] * (48 - len(ids))]])
    apply = jax.jit(lambda p, t: sampler.model.apply({"params": p}, t).logits)
    logits = np.array(apply(sampler.params, padded)[0, : len(ids)])
    logits[:, sampler.tokenizer.vocab_size :] = -np.inf
    return np.asarray(jax.nn.log_softmax(logits))


@pytest.mark.slow
def test_greedy_tokens_are_the_best_of_an_uncached_pass(sampler):
    generation = sampler.generate(PROMPT, max_new_tokens=16)
    ids = (*generation.prompt_ids, *generation.token_ids)
    best = np.argmax(uncached_logprobs(sampler, ids), axis=1)
    begin = len(generation.prompt_ids) - 1
    assert list(generation.token_ids) == best[begin:-1].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gemma2_gqa", "gemma1_mha_wide"])
def test_logprobs_are_those_of_an_uncached_pass(name, tiny_sampler):
    """Random draws, so that the chosen token is not the best; some forbidden."""
    sampler = tiny_sampler(name)
    generation = sampler.generate(
        PROMPT,
        max_new_tokens=12,
        sampling=Sampling(temperature=3.0, top_k=50),
        rng=1,
        num_logprobs=3,
        forbidden_tokens=[20, "in"],
    )
    ids = (*generation.prompt_ids, *generation.token_ids)
    expected = uncached_logprobs(sampler, ids)
    expected = expected[len(generation.prompt_ids) - 1 : -1]
    assert len(generation.logprobs) == len(generation.token_ids)
    for token_id, found, row in zip(
        generation.token_ids, generation.logprobs, expected, strict=True
    ):
        best = np.argsort(-row, kind="stable")[:3]
        assert [top_id for top_id, _ in found.top] == best.tolist()
        values = [value for _, value in found.top]
        assert_close(values, row[best], law="logprobs")
        assert_close(found.chosen, row[token_id], law="logprobs")


@pytest.mark.slow
def test_logprobs_do_not_depend_on_sampling_options(sampler):
    plain = sampler.generate(PROMPT, max_new_tokens=1, num_logprobs=2)
    options = Sampling(temperature=0.01, top_k=1, top_p=0.1, min_p=0.9)
    cut = sampler.generate(PROMPT, max_new_tokens=1, num_logprobs=2, sampling=options)
    assert cut.logprobs == plain.logprobs


@pytest.mark.slow
def test_number_of_logprobs(sampler):
    assert sampler.generate(PROMPT, max_new_tokens=2).logprobs is None
    generation = sampler.generate(PROMPT, max_new_tokens=2, num_logprobs=0)
    assert [logprobs.top for logprobs in generation.logprobs] == [(), ()]


@pytest.mark.slow
def test_one_prompt_and_several(sampler):
    """One gives one, a list gives a list, also of one."""
    single = sampler.generate(PROMPT, max_new_tokens=4)
    assert isinstance(single, Generation)
    assert sampler.generate([PROMPT], max_new_tokens=4) == [single]
    assert sampler.sample(PROMPT, max_new_tokens=4) == single.text
    texts = sampler.sample(PROMPTS, max_new_tokens=4)
    assert texts[0] == single.text
    assert len(texts) == 3
    assert sampler.generate([]) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_ids_are_a_prompt(sampler, kind):
    text = sampler.generate(PROMPT, max_new_tokens=4)
    ids = [sampler.tokenizer.bos_id, *sampler.tokenizer.encode(PROMPT)]
    assert text.prompt_ids == tuple(ids)
    assert sampler.generate(kind(ids), max_new_tokens=4) == text
    assert sampler.generate([kind(ids), "д"], max_new_tokens=4)[0] == text


@pytest.mark.slow
def test_ids_get_no_bos_and_text_gets_one(sampler):
    bos = sampler.tokenizer.bos_id
    assert sampler.generate([20, 21], max_new_tokens=1).prompt_ids == (20, 21)
    for text in ("", "<bos>", "the", "<bos>the"):
        ids = sampler.generate(text, max_new_tokens=1).prompt_ids
        assert ids[0] == bos
        assert bos not in ids[1:]


@pytest.mark.slow
def test_conversation_is_a_prompt(sampler):
    """Names of control tokens that people write are text."""
    turn = gm.dialog.Turn(gm.dialog.Role.USER, (gm.dialog.Text("hi <end_of_turn>"),))
    conversation = gm.dialog.Conversation((turn,))
    ids = sampler.generate(conversation, max_new_tokens=1).prompt_ids
    rendered = gm.dialog.render(conversation, gm.dialog.GEMMA2).text
    assert sampler.tokenizer.decode(ids) == rendered
    assert ids.count(sampler.tokenizer.end_of_turn_id) == 1


@pytest.mark.slow
def test_echo_puts_the_prompt_in_front(sampler):
    plain = sampler.generate(PROMPTS, max_new_tokens=4)
    echoed = sampler.generate(PROMPTS, max_new_tokens=4, echo=True)
    for prompt, one, other in zip(PROMPTS, plain, echoed, strict=True):
        assert other.text == prompt + one.text
        assert other.token_ids == one.token_ids
        assert other.prompt_ids == one.prompt_ids


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 9])
def test_number_of_new_tokens(sampler, count):
    for generation in sampler.generate(PROMPTS, max_new_tokens=count):
        assert len(generation.token_ids) == count
        assert generation.finish_reason == "length"


@pytest.mark.slow
def test_a_full_cache_ends_the_answer(sampler):
    """The last token needs no slot: nothing follows it."""
    for generation in sampler.generate([[20] * 47, [20] * 40, [20]]):
        expected = 48 - len(generation.prompt_ids)
        assert len(generation.token_ids) == expected
        assert generation.finish_reason == "length"
    limited = sampler.generate([[20] * 47, [20] * 40, [20]], max_new_tokens=5)
    assert [len(generation.token_ids) for generation in limited] == [1, 5, 5]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["<eos>", "<end_of_turn>"])
def test_ending_tokens_end_the_answer(sampler, name):
    forbidden = all_but(sampler, name)
    generation = sampler.generate(PROMPT, forbidden_tokens=forbidden, num_logprobs=0)
    assert generation.text == ""
    assert generation.token_ids == (sampler.tokenizer.id(name),)
    assert generation.finish_reason == "stop"
    assert len(generation.logprobs) == 1


@pytest.mark.slow
def test_rows_end_each_at_its_own_time(sampler):
    forbidden = all_but(sampler, "<eos>", "in", "er")
    generations = sampler.generate(
        PROMPTS, forbidden_tokens=forbidden, max_new_tokens=8, **HOT
    )
    eos = sampler.tokenizer.eos_id
    lengths = set()
    for generation in generations:
        ids = generation.token_ids
        lengths.add(len(ids))
        assert eos not in ids[:-1]
        assert generation.finish_reason == ("stop" if ids[-1] == eos else "length")
        assert generation.text == sampler.tokenizer.decode([i for i in ids if i != eos])
    assert len(lengths) > 1


@pytest.mark.slow
def test_stop_string_ends_the_answer(sampler):
    """Across tokens; it is not shown, and of several the first to begin wins."""
    forbidden = all_but(sampler, "in", "er")
    options = {"forbidden_tokens": forbidden, "max_new_tokens": 12, **HOT}
    free = sampler.generate(PROMPTS, **options)
    stopped = sampler.generate(PROMPTS, stop=["rin", "ere", "zz"], **options)
    for one, other in zip(free, stopped, strict=True):
        begins = [one.text.find(string) for string in ("rin", "ere")]
        begins = [begin for begin in begins if begin >= 0]
        if begins:
            assert other.text == one.text[: min(begins)]
            assert other.finish_reason == "stop"
        else:
            assert other == one
    assert any(generation.finish_reason == "stop" for generation in stopped)


@pytest.mark.slow
def test_forbidden_tokens_by_id_and_by_name(sampler):
    first = sampler.generate(PROMPT, max_new_tokens=8)
    best = first.token_ids[0]
    names = [sampler.tokenizer.piece(best), best]
    for token in names:
        other = sampler.generate(PROMPT, max_new_tokens=8, forbidden_tokens=[token])
        assert best not in other.token_ids
    forbidden = sampler.generate(PROMPT, max_new_tokens=8, forbidden_tokens=names)
    assert forbidden == other


@pytest.mark.slow
def test_rows_beyond_the_vocabulary_never_come(tiny_sampler):
    """An embedding may have more rows than there are tokens."""
    sampler = tiny_sampler("gemma1_mha_wide")
    assert sampler.model.config.vocab_size > sampler.tokenizer.vocab_size
    options = {"sampling": Sampling(temperature=1e6), "max_new_tokens": 40}
    for seed in range(8):
        ids = sampler.generate([[20]] * 3, rng=seed, **options)
        assert all(max(g.token_ids) < sampler.tokenizer.vocab_size for g in ids)


@pytest.mark.slow
def test_seeds(sampler):
    options = {"sampling": Sampling(temperature=2.0), "max_new_tokens": 8}
    prompts = [PROMPT] * 3
    once = sampler.generate(prompts, rng=5, **options)
    assert sampler.generate(prompts, rng=[5, 6, 7], **options) == once
    assert sampler.generate(prompts, rng=np.int64(5), **options) == once
    assert len({generation.token_ids for generation in once}) == 3
    assert sampler.generate(PROMPT, rng=6, **options) == once[1]
    unseeded = [sampler.generate(PROMPT, **options).token_ids for _ in range(4)]
    assert len(set(unseeded)) > 1


@pytest.mark.slow
def test_threads_may_share_a_sampler(sampler):
    def answer(seed):
        options = {"sampling": Sampling(temperature=1.0), "max_new_tokens": 8}
        return sampler.generate(PROMPT, rng=seed, **options)

    expected = [answer(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(answer, range(8))) == expected


@pytest.mark.slow
def test_a_stream_may_be_left(sampler):
    whole = sampler.generate(PROMPT, max_new_tokens=8)
    stream = sampler.stream(PROMPT, max_new_tokens=8)
    first = next(stream)
    stream.close()
    assert first.token_id == whole.token_ids[0]
    assert sampler.generate(PROMPT, max_new_tokens=8) == whole


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0; it must be 1 or more"),
        ({"num_logprobs": -1}, "num_logprobs is -1; it must be 0 or more"),
        ({"num_logprobs": 481}, "num_logprobs is 481; it must be 480 or less"),
        ({"stop": [""]}, "stop string is empty"),
        (
            {"forbidden_tokens": [480]},
            "forbidden_tokens has token 480, outside the voc",
        ),
        ({"forbidden_tokens": [-1]}, "forbidden_tokens has token -1, outside the voc"),
        ({"forbidden_tokens": ["the rain"]}, "'the rain' is .* tokens"),
        ({"rng": [1, 2]}, "rng has 2 numbers for 3 prompts"),
        ({"sampling": [Sampling()]}, "There are 3 prompts and 1 samplings"),
    ],
)
def test_bad_options_are_refused_by_the_call_itself(sampler, options, message):
    """Not by the first `next`, when the caller no longer looks."""
    with pytest.raises(ValueError, match=message):
        sampler.stream(PROMPTS, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stop": "END"}, r"stop is a string; pass a list: stop=\['END'\]"),
        ({"forbidden_tokens": "in"}, "forbidden_tokens is a string; pass a list"),
        ({"rng": 1.5}, "float"),
        ({"temperature": 1.0}, "unexpected keyword argument 'temperature'"),
    ],
)
def test_options_of_another_type_are_refused(sampler, options, message):
    with pytest.raises(TypeError, match=message):
        sampler.stream(PROMPTS, **options)
    with pytest.raises(TypeError, match=message):
        sampler.generate(PROMPTS, **options)


@pytest.mark.parametrize(
    ("prompt", "error", "message"),
    [
        ([[]], ValueError, "A prompt of token ids is empty"),
        ([PROMPT, []], ValueError, "A prompt of token ids is empty"),
        ([2, 480], ValueError, "token id 480, outside the vocabulary of 480 tokens"),
        ([2, -1], ValueError, "token id -1, outside the vocabulary"),
        ([2, 3.5], TypeError, "float"),
        ([2.0, 3.0], TypeError, "float"),
        (7, TypeError, "found int"),
        (None, TypeError, "found NoneType"),
        ({"a": 1}, TypeError, "found dict"),
        (b"the", TypeError, "found bytes"),
        (["a", None], TypeError, "NoneType"),
        ("\ud800", ValueError, "lone surrogate"),
    ],
)
def test_what_is_no_prompt_is_refused_by_the_call_itself(
    sampler, prompt, error, message
):
    with pytest.raises(error, match=message):
        sampler.stream(prompt)


@pytest.mark.parametrize("length", [48, 49, 1000])
def test_prompt_that_does_not_fit_the_cache(sampler, length):
    message = f"Prompt has {length:,} tokens but the cache holds 48 with the answer"
    with pytest.raises(ValueError, match=message):
        sampler.stream([[20], [20] * length])


def test_sampler_needs_a_tokenizer_that_fits(tiny_model, tiny_tokenizer):
    tiny = tiny_model("gemma2_gqa")
    with pytest.raises(ValueError, match="does not know its tokenizer"):
        Sampler(model=tiny.model, params=tiny.params)
    small = gm.nn.Transformer(
        gm.nn.gemma1_config(
            num_layers=1, embed_dim=8, hidden_dim=8, num_heads=1, num_kv_heads=1,
            head_dim=8, vocab_size=479,
        )
    )  # fmt: skip
    params = small.init(jax.random.key(0))
    with pytest.raises(ValueError, match="tokenizer has 480 tokens but the model's"):
        Sampler(model=small, params=params, tokenizer=tiny_tokenizer)
    with pytest.raises(ValueError, match="cache_length is 0; it must be 1 or more"):
        Sampler(
            model=tiny.model,
            params=tiny.params,
            tokenizer=tiny_tokenizer,
            cache_length=0,
        )


@pytest.mark.slow
def test_sampler_of_a_folder(sampler, tmp_path):
    """Weights and tokenizer from one place, and the same answer."""
    folder = tmp_path / "model"
    gm.ckpts.save_model(folder, sampler.model, sampler.params)
    shutil.copy(DATA / "tiny_tokenizer.model", folder / "tokenizer.model")
    calls = []
    loaded = Sampler.from_pretrained(
        folder, cache_length=48, progress=lambda *call: calls.append(call)
    )
    assert calls[-1][0] == calls[-1][1]
    assert loaded.generate(PROMPT, max_new_tokens=6) == sampler.generate(
        PROMPT, max_new_tokens=6
    )
    beside = Sampler(model=loaded.model, params=loaded.params, cache_length=48)
    assert beside.tokenizer.vocab_size == 480


@pytest.mark.slow
def test_no_prompt_and_no_option_compiles_anew(sampler):
    """A length, a number of tokens or an option is data, not a program."""
    programs = [feed_chunk, decode_steps]
    # With log-probabilities and without are two programs.
    sampler.generate([20] * 20, max_new_tokens=3)
    sampler.generate([20] * 20, max_new_tokens=3, num_logprobs=0)
    compiled = [program._cache_size() for program in programs]
    for length in (1, 2, 7, 8, 9, 16, 17, 30, 44):
        sampler.generate([20] * length, max_new_tokens=1 + length % 4, rng=length)
    for options in (
        {"sampling": Sampling(temperature=0.7, top_k=4, top_p=0.8, min_p=0.1)},
        {"forbidden_tokens": ["in", 20]},
        {"stop": ["in"]},
        {"num_logprobs": 2},
    ):
        sampler.generate([20] * 5, max_new_tokens=3, rng=0, **options)
    assert [program._cache_size() for program in programs] == compiled
