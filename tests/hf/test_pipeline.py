"""What `pipeline` takes and returns."""

import pytest

from gemma import hf

CHAT = [{"role": "user", "content": "in the house"}]
GREEDY = {"do_sample": False, "max_new_tokens": 4}


@pytest.fixture(scope="module")
def pipe(tiny_folder):
    return hf.pipeline(model=tiny_folder("gemma1_mqa"), dtype="float32")


def answer_ids(pipe, prompt, **options):
    [found] = pipe(prompt, return_tensors=True, **options)
    return found["generated_token_ids"]


@pytest.mark.slow
def test_max_length_counts_the_prompt(pipe):
    prompt = pipe.tokenizer("in the house")["input_ids"]
    ids = answer_ids(pipe, "in the house", do_sample=False, max_length=len(prompt) + 3)
    assert len(ids) == len(prompt) + 3
    made = hf.TextGenerationPipeline(
        pipe.model, pipe.tokenizer, max_length=len(prompt) + 2, do_sample=False
    )
    assert len(answer_ids(made, "in the house")) == len(prompt) + 2


@pytest.mark.slow
def test_batches_change_no_answer(pipe):
    texts = ["in", "in the house", "the cat"]
    expected = [pipe(text, **GREEDY) for text in texts]
    for batch_size in (1, 2, 3):
        assert pipe(texts, batch_size=batch_size, **GREEDY) == expected
    several = pipe(texts, batch_size=2, num_return_sequences=2, max_new_tokens=3)
    assert [len(rows) for rows in several] == [2, 2, 2]


@pytest.mark.slow
def test_an_iterator_is_answered_by_one(pipe):
    found = pipe((text for text in ["in", "the"]), **GREEDY)
    assert next(found) == pipe("in", **GREEDY)
    assert len(list(found)) == 1


@pytest.mark.slow
def test_a_conversation_that_ends_with_the_assistant_goes_on(pipe):
    chat = [*CHAT, {"role": "assistant", "content": "the cat"}]
    [found] = pipe(chat, **GREEDY)
    written = pipe.tokenizer.apply_chat_template(chat, tokenize=False)
    text = written[: written.rindex("the cat") + len("the cat")]
    [expected] = pipe(text, add_special_tokens=False, return_full_text=False, **GREEDY)
    last = {"role": "assistant", "content": "the cat" + expected["generated_text"]}
    assert found["generated_text"] == [*CHAT, last]
    [opened] = pipe(chat[:1], **GREEDY)
    assert opened["generated_text"][-1]["role"] == "assistant"


@pytest.mark.slow
def test_what_is_returned(pipe):
    [full] = pipe("in", **GREEDY)
    [new] = pipe("in", return_full_text=False, **GREEDY)
    assert full["generated_text"] == "in" + new["generated_text"]
    ids = answer_ids(pipe, "in", **GREEDY)
    assert (
        pipe.tokenizer.decode(ids, skip_special_tokens=True) == (full["generated_text"])
    )


@pytest.mark.slow
def test_arguments_of_calls_may_be_said_once(pipe):
    made = hf.pipeline(
        model=pipe.model, tokenizer=pipe.tokenizer, device="cpu", dtype="auto", **GREEDY
    )
    assert made("in") == pipe("in", **GREEDY)
    config = hf.GenerationConfig(**GREEDY)
    assert pipe("in", generation_config=config) == made("in")


def test_defaults_stand_where_a_generation_config_says_nothing(pipe):
    pipe.model.generation_config = hf.GenerationConfig(do_sample=True, top_k=3)
    stated = hf.TextGenerationPipeline(pipe.model, pipe.tokenizer).generation_config
    assert (stated.top_k, stated.temperature, stated.max_new_tokens) == (3, 0.7, 256)
    pipe.model.generation_config = hf.GenerationConfig(do_sample=False, max_length=9)
    stated = hf.TextGenerationPipeline(pipe.model, pipe.tokenizer).generation_config
    assert (stated.do_sample, stated.max_new_tokens) == (False, None)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"prefix": "x"}, TypeError, "prefix='x' cannot be honoured: put it before"),
        ({"batch_size": 0}, ValueError, "batch_size is 0"),
        ({"batch_size": 1.5}, TypeError, "batch_size is 1.5"),
        (
            {"return_tensors": True, "return_full_text": True},
            ValueError,
            "do not go together",
        ),
        ({"max_new_tokenz": 1}, TypeError, "generate has no 'max_new_tokenz'"),
    ],
)
def test_options_that_cannot_be_honoured(options, error, message, pipe):
    with pytest.raises(error, match=message):
        pipe("in", **options)
    with pytest.raises(error, match=message):
        hf.TextGenerationPipeline(pipe.model, pipe.tokenizer, **options)


def test_messages_have_roles(pipe):
    with pytest.raises(ValueError, match=r"A message has 'content'; it needs 'role'"):
        pipe([{"content": "in"}])
