"""What the fields of a `GenerationConfig` do to scores on the host, in transformers' order."""

from collections.abc import Iterator

import numpy as np

from gemma.gm._numbers import FLOAT32_MAX, PENALTY_MAX, check_count, check_number
from gemma.hf import _logits_processors as processors
from gemma.hf._generation_config import GenerationConfig
from gemma.hf._logits_processors import Processor


def score_rules(
    config: GenerationConfig,
    *,
    prompt_length: int,
    num_hidden: int,
    room: int,
    is_real: np.ndarray | None,
    allowed: Processor | None,
) -> Iterator[Processor]:
    """Yields what comes before the caller's own processors.

    Args:
      config: The fields.
      prompt_length: Ids of the prompt.
      num_hidden: Tokens of the prompt that have no ids, since they are vectors.
      room: The most tokens of an answer.
      is_real: False for padding of the prompts, [B, L].
      allowed: What a function of the caller allows.
    """
    if config.sequence_bias is not None:
        yield processors.sequence_bias(_biases(config.sequence_bias))
    if config.repetition_penalty not in (None, 1.0):
        penalty = check_number(
            "repetition_penalty",
            config.repetition_penalty,
            at_least=1 / PENALTY_MAX,
            at_most=PENALTY_MAX,
        )
        yield processors.repetition_penalty(penalty, is_real)
    if config.no_repeat_ngram_size:
        size = check_count(
            "no_repeat_ngram_size", config.no_repeat_ngram_size, at_least=0
        )
        yield processors.no_repeat_ngram(size)
    if config.bad_words_ids:
        words = {tuple(map(int, word)): -np.inf for word in config.bad_words_ids}
        yield processors.sequence_bias(_biases(words, "bad_words_ids"))
    if config.min_length:
        floor = check_count("min_length", config.min_length, at_least=0) - num_hidden
        yield processors.forbid(config.stop_ids, below=floor)
    if config.min_new_tokens:
        floor = check_count("min_new_tokens", config.min_new_tokens, at_least=0)
        yield processors.forbid(config.stop_ids, below=prompt_length + floor)
    if allowed is not None:
        yield allowed
    if (forced := config.forced_eos_token_id) is not None:
        ids = [forced] if isinstance(forced, int) else list(forced)
        yield processors.force(ids, at=prompt_length + room - 1)
    if config.suppress_tokens:
        yield processors.forbid(config.suppress_tokens)
    if config.begin_suppress_tokens:
        first = prompt_length + 1
        yield processors.forbid(config.begin_suppress_tokens, below=first)


def draw_rules(config: GenerationConfig) -> Iterator[Processor]:
    """Yields what says how tokens are drawn, and comes after the caller's processors."""
    if config.do_sample:
        sampling = config.sampling  # which checks the ranges
        if sampling.temperature == 0:
            raise ValueError("temperature is 0: pass do_sample=False for that.")
        if sampling.temperature != 1:
            yield processors.temperature(sampling.temperature)
        if sampling.top_k is not None:
            yield processors.top_k(sampling.top_k)
        if sampling.top_p < 1:
            yield processors.top_p(sampling.top_p)
        if sampling.min_p > 0:
            yield processors.min_p(sampling.min_p)
    if config.renormalize_logits:
        yield processors.renormalize


def _biases(stated: object, name: str = "sequence_bias") -> dict:
    """Returns sequences of tokens with a bias each, which may be a list of pairs."""
    pairs = stated.items() if isinstance(stated, dict) else stated
    try:
        found = {tuple(map(int, ids)): float(bias) for ids, bias in pairs}  # pyright: ignore[reportGeneralTypeIssues]
    except (TypeError, ValueError):
        found = {(): 0.0}
    if () in found or any(min(ids) < 0 for ids in found):
        raise ValueError(
            f"{name} is {stated!r:.80}; it needs sequences of one token id or more"
            + (
                ", with a bias each: {(5, 6): -2.0}."
                if name == "sequence_bias"
                else "."
            )
        )
    for ids, bias in found.items():
        if bias != -np.inf:  # which forbids the sequence
            largest = FLOAT32_MAX
            check_number(f"{name} of {ids}", bias, at_least=-largest, at_most=largest)
    return found
