"""Numeric options: what is no number of their kind is refused by each public call."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from gemma.gm.dialog import ToolCall
from gemma.gm.text import ChatSampler, Sampler, Sampling, ToolSampler
from gemma.gm.tools import McpTools, Tool, call_tool
from gemma.gm.vision import pan_and_scan

NO_NUMBERS = [True, np.True_, "5", float("nan"), 1j, [3], np.array([3])]
NO_COUNTS = [*NO_NUMBERS, 2.5, 5 / 1, float("inf"), np.float32(8)]
COUNTS = {  # each with a value that is too small
    "max_new_tokens": 0,
    "num_logprobs": -1,
    "cache_length": 0,
    "prefill_chunk_length": 0,
    "rewind_length": 7,
    "max_out_length": 0,
    "chat_max_new_tokens": 0,
    "chat_cache_length": 0,
    "from_pretrained_cache_length": 0,
    "max_rounds": -1,
    "max_chars": -1,
    "top_k": 0,
    "min_crop": 0,
    "max_crops": 0,
    "stop_tokens": -1,
    "forbidden_tokens": -1,
    "rng": None,
}
NUMBERS = {
    "tool_timeout_s": -5,
    "timeout_s": 0,
    "command_timeout_s": -1,
    "url_timeout_s": 0,
    "temperature": -1,
    "top_p": 0,
    "min_p": 1.5,
    "repetition_penalty": 0,
    "presence_penalty": -np.inf,
    "frequency_penalty": np.inf,
    "logit_bias": np.inf,
    "min_ratio": 0.5,
}
SAMPLING = {"temperature", "top_k", "top_p", "min_p", "repetition_penalty"}
SAMPLING |= {"presence_penalty", "frequency_penalty"}


@pytest.fixture(scope="module")
def call(tiny_model, tiny_tokenizer, tiny_sampler):
    """A function that passes a value for an option to the call that has it."""
    tiny = tiny_model("gemma3_mqa")
    made = {"model": tiny.model, "params": tiny.params, "tokenizer": tiny_tokenizer}
    sampler = tiny_sampler("gemma3_mqa")
    chat = ChatSampler(**made)
    tool = Tool.from_function(lambda: "", name="f", description="")
    pixels = np.zeros([4, 9, 3], np.uint8)

    def pass_option(name, value):
        if name in SAMPLING:
            return Sampling(**{name: value})
        if name in {"cache_length", "prefill_chunk_length", "rewind_length"}:
            return Sampler(**made, **{name: value})
        if name in {"max_rounds", "tool_timeout_s"}:
            return ToolSampler(**made, tools=[], **{name: value})
        if name in {"timeout_s", "max_chars"}:
            return call_tool(tool, ToolCall("f", {}), **{name: value})
        if name in {"min_ratio", "min_crop", "max_crops"}:
            return pan_and_scan(pixels, **{name: value})
        if name in {"stop_tokens", "forbidden_tokens"}:
            return sampler.stream("a", **{name: [value]})
        others = {
            "max_out_length": lambda: ChatSampler(**made, max_out_length=value),
            "chat_cache_length": lambda: ChatSampler(**made, cache_length=value),
            "chat_max_new_tokens": lambda: chat.stream("a", max_new_tokens=value),
            "from_pretrained_cache_length": lambda: Sampler.from_pretrained(
                "/nowhere", cache_length=value
            ),
            "command_timeout_s": lambda: McpTools.from_command(["a"], timeout_s=value),
            "url_timeout_s": lambda: McpTools.from_url("http://a", timeout_s=value),
            "logit_bias": lambda: Sampling(logit_bias={3: value}),
        }
        return others.get(name, lambda: sampler.stream("a", **{name: value}))()

    return pass_option


def word_of(name: str) -> str:
    words = {
        "chat_max_new_tokens": "max_new_tokens",
        "chat_cache_length": "cache_length",
        "from_pretrained_cache_length": "cache_length",
        "command_timeout_s": "timeout_s",
        "url_timeout_s": "timeout_s",
    }
    return words.get(name, name)


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_integers(call, name):
    for value in NO_COUNTS:
        if name in {"stop_tokens", "forbidden_tokens"} and isinstance(value, str):
            continue  # the name of a token
        if name == "rng" and isinstance(value, list | np.ndarray):
            continue  # several seeds
        with pytest.raises((TypeError, ValueError), match=word_of(name)):
            call(name, value)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_finite_and_no_bools(call, name):
    for value in NO_NUMBERS:
        with pytest.raises((TypeError, ValueError), match=word_of(name)):
            call(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [item for item in (COUNTS | NUMBERS).items() if item[1] is not None],
)
def test_numbers_are_in_range(call, name, value):
    with pytest.raises(ValueError, match=f"{word_of(name)}.* {value}"):
        call(name, value)


@pytest.mark.parametrize("value", [2, np.int64(2), np.array(2), jnp.int32(2)])
@pytest.mark.parametrize("name", ["max_new_tokens", "top_k", "rng", "temperature"])
def test_numbers_of_numpy_and_jax_are_numbers(call, name, value):
    call(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frequency_penalty", 1e39),
        ("frequency_penalty", -1e38),  # twice in an answer it would overflow
        ("presence_penalty", 1e300),
        ("repetition_penalty", 1e39),
        ("repetition_penalty", 1e-50),  # 0 in float32
        ("logit_bias", 1e300),
        ("logit_bias", -1e39),
    ],
)
def test_numbers_fit_into_float32(call, name, value):
    with pytest.raises(
        ValueError, match=rf"{name}.* is {re.escape(str(value))}; it must"
    ):
        call(name, value)


def test_the_largest_numbers_choose_tokens(tiny_sampler):
    largest = float(np.finfo(np.float32).max)
    bias = dict.fromkeys(range(3, 480), -largest) | {300: largest, 1: -np.inf}
    sampling = Sampling(
        logit_bias=bias, frequency_penalty=1e25, repetition_penalty=1e-25, temperature=1
    )
    answer = tiny_sampler("gemma3_mqa").generate(
        "a", max_new_tokens=4, sampling=sampling, num_logprobs=0
    )
    assert answer.token_ids == (300, 300, 300, 300)
    assert all(np.isfinite(entry.chosen) for entry in answer.logprobs)


def test_pairs_are_no_bias_and_true_is_no_token():
    with pytest.raises(TypeError, match="logit_bias is a list; pass a dict"):
        Sampling(logit_bias=[(3, 1.0)])  # pyright: ignore
    with pytest.raises(TypeError, match="A token of logit_bias is True"):
        Sampling(logit_bias={True: 1.0})
    with pytest.raises(TypeError, match=r"A token of logit_bias is 2\.5"):
        Sampling(logit_bias={2.5: 1.0})  # pyright: ignore


def test_half_a_token_is_refused_rather_than_never_reached(tiny_sampler):
    with pytest.raises(TypeError, match=r"max_new_tokens is 2\.5.*must be an integer"):
        tiny_sampler("gemma3_mqa").sample("a", max_new_tokens=2.5)
