"""What people ask of answers: checked, and as arrays."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gemma.gm._numbers import check_count, check_optional_count
from gemma.gm.ckpts import read_generation_defaults
from gemma.gm.kernels import Screen
from gemma.gm.math import pack_bits
from gemma.gm.text._custom_sampling import (
    AnySampling,
    ChosenSampling,
    CustomSampling,
    is_custom,
)
from gemma.gm.text._decode import Choice
from gemma.gm.text._draw import needs_few, stack
from gemma.gm.text._sampling import Sampling
from gemma.gm.text._tokenizer import Tokenizer
from gemma.gm.text.constraints import Constraint

# Positions are 32-bit numbers.
_MAX_CACHE_LENGTH = (1 << 31) - 1


def make_choice(
    samplings: Sequence[Sampling] | CustomSampling,
    seeds: Sequence[int],
    *,
    tokenizer: Tokenizer,
    vocab_size: int,
    forbidden_tokens: Sequence[str | int],
    never: Sequence[int],
    screen: Screen | None,
) -> Choice:
    """Returns how the tokens of all rows are chosen.

    Args:
      samplings: How each row draws, or a caller's way for all.
      seeds: The seed of each row.
      tokenizer: The tokenizer.
      vocab_size: Rows of the embedding.
      forbidden_tokens: Ids, or strings of a single token.
      never: Ids that are forbidden whatever a caller asks for.
      screen: The outline of the head; left out if a row needs more than it gives.
    """
    custom = samplings if isinstance(samplings, CustomSampling) else None
    if isinstance(samplings, CustomSampling):
        samplings = [Sampling()] * len(seeds)
    may_come = np.zeros([len(samplings), vocab_size], bool)
    # Rows of the embedding beyond the vocabulary have no text.
    may_come[:, : tokenizer.vocab_size] = True
    forbidden = token_ids("forbidden_tokens", forbidden_tokens, tokenizer, vocab_size)
    may_come[:, [*forbidden, *never]] = False
    # Not jnp.asarray, which would compile a program for it.
    arrays, allowed = stack(samplings, seeds), jax.device_put(pack_bits(may_come))
    few = needs_few(arrays).all() and not any(s.changes_logits for s in samplings)
    if few and screen is not None and custom is None:
        return Choice(arrays, allowed, None, screen)
    bias = np.zeros([len(samplings), vocab_size], np.float32)
    for row, sampling in zip(bias, samplings, strict=True):
        ids = token_ids("logit_bias", list(sampling.logit_bias), tokenizer, vocab_size)
        row[ids] = list(sampling.logit_bias.values())
    return Choice(arrays, allowed, jax.device_put(bias), None, custom)


def token_ids(
    name: str, tokens: Sequence[str | int], tokenizer: Tokenizer, num_rows: int
) -> list[int]:
    """Returns the ids of tokens that are given by id or by text.

    Args:
      name: Of the option, for error messages.
      tokens: Ids, or strings of a single token.
      tokenizer: The tokenizer.
      num_rows: Rows of the model's embedding.

    Raises:
      ValueError: A string is no single token, or an id is outside the vocabulary or
        has no row of the embedding.
      TypeError: It is one string and not a list.
    """
    check_list(name, tokens)
    ids = [
        tokenizer.id(token)
        if isinstance(token, str)
        else check_count(f"A token of {name}", token)
        for token in tokens
    ]
    for token_id in ids:
        if not 0 <= token_id < tokenizer.vocab_size:
            raise ValueError(
                f"{name} has token {token_id}, outside the vocabulary of "
                f"{tokenizer.vocab_size:,} tokens."
            )
        if token_id >= num_rows:
            raise ValueError(
                f"{name} has {tokenizer.piece(token_id)!r}, token {token_id:,}, which "
                f"the model never makes: its embedding has {num_rows:,} rows."
            )
    return ids


def check_cache_length(length: Any) -> int | None:
    """Returns a cache length, or None if it was left out."""
    return check_optional_count(
        "cache_length", length, at_least=1, at_most=_MAX_CACHE_LENGTH
    )


def check_list(name: str, strings: Sequence[str | int]) -> None:
    """Refuses a single string, which would be taken for a list of its letters."""
    if isinstance(strings, str):
        raise TypeError(f"{name} is a string; pass a list: {name}=[{strings!r}].")


def chosen_sampling(sampling: AnySampling, checkpoint: Path | None) -> ChosenSampling:
    """Returns how tokens are chosen.

    Args:
      sampling: What was asked for; "model" for what the files recommend.
      checkpoint: Where the weights came from.

    Raises:
      ValueError: The files recommend nothing, or there are none.
      TypeError: It is another text.
    """
    if not isinstance(sampling, str):
        return sampling
    if sampling != "model":
        raise TypeError(
            f'sampling is {sampling!r}; pass a gm.text.Sampling, or "model" for what the '
            "checkpoint recommends."
        )
    if checkpoint is None:
        raise ValueError(
            'sampling="model" needs a model from a checkpoint: load it with '
            "from_pretrained or gm.ckpts.load_model."
        )
    recommended = read_generation_defaults(checkpoint).sampling
    if not recommended:
        raise ValueError(
            f"{checkpoint.name} recommends no sampling. Pass a gm.text.Sampling."
        )
    return Sampling(**recommended)  # pyright: ignore[reportArgumentType]


def each_row(
    sampling: ChosenSampling, num_rows: int
) -> Sequence[Sampling] | CustomSampling:
    """Returns how each row draws, or a caller's way for all of them.

    Raises:
      TypeError: It is neither.
      ValueError: There are not as many as rows.
    """
    if is_custom(sampling):
        return CustomSampling(sampling)
    if isinstance(sampling, Sampling):
        return [sampling] * num_rows
    if isinstance(sampling, Mapping):
        raise TypeError("sampling is a dict; pass gm.text.Sampling(**sampling).")
    if not isinstance(sampling, Sequence) or not all(
        isinstance(one, Sampling) for one in sampling
    ):
        raise TypeError(
            f"sampling is {sampling!r}; pass a gm.text.Sampling, a list of them, or one "
            "object with get_next_tokens(logits, rng) for all prompts."
        )
    if len(sampling) != num_rows:
        raise ValueError(f"There are {num_rows} prompts and {len(sampling)} samplings.")
    return sampling


def each_constraint(
    constraint: Constraint | Sequence[Constraint | None] | None,
    schema: Mapping[str, Any] | str | bool | None,
    stop: Sequence[str | int],
    rooms: Sequence[int],
) -> list[tuple[Constraint | None, int]]:
    """Returns the constraint of each row, and the most tokens of its answer.

    Raises:
      ValueError: There are not as many as rows, both a constraint and a schema, or
        stop strings or tokens, which would cut what matches.
      TypeError: What was passed is no constraint.
    """
    if schema is not None:
        if constraint is not None:
            raise ValueError("Pass a constraint or a schema, not both.")
        constraint = Constraint.json_schema(schema)
    if constraint is None or isinstance(constraint, Constraint):
        constraint = [constraint] * len(rooms)
    if isinstance(constraint, str | Mapping) or not all(
        one is None or isinstance(one, Constraint) for one in constraint
    ):
        raise TypeError(
            f"constraint is {constraint!r}; pass Constraint.regex(...), "
            "Constraint.choice([...]) or Constraint.json_schema(...), or a list of "
            "these with one a prompt."
        )
    if len(constraint) != len(rooms):
        raise ValueError(
            f"There are {len(rooms)} prompts and {len(constraint)} constraints."
        )
    if stop and any(constraint):
        raise ValueError(
            "Stop strings and tokens would cut a text that has to match as a whole. "
            "Leave them out."
        )
    return list(zip(constraint, rooms, strict=True))


def room_for(prompt_length: int, max_new_tokens: int | None, cache_length: int) -> int:
    """Returns how many tokens may follow a prompt; refuses one that has no room."""
    room = cache_length - prompt_length
    if room < 1:
        raise ValueError(
            f"Prompt has {prompt_length:,} tokens but the cache holds {cache_length:,} "
            "with the answer. Pass a larger cache_length or shorten the prompt."
        )
    return room if max_new_tokens is None else min(room, max_new_tokens)
