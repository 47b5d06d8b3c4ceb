"""Measures what a turn of a conversation costs, and what a constraint adds to a token.

Writes CHAT.md.

python benchmarks/chat.py
"""

import statistics
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from circumstances import describe

from gemma.cli.bench import machine, versions
from gemma.gm.text import ChatSampler, Constraint, Sampler

HERE = Path(__file__).parent
TURNS, ANSWER, ROUNDS = 24, 96, 15
QUESTION = "And what else should a traveller know about the harbours of the north sea?"
TOKENS = 160
# What keeps a model busy: strings that do not end by themselves, keys, numbers.
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 40},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 20},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
ORDINARY = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "note": {"type": "string"}},
    "required": ["name", "note"],
    "additionalProperties": False,
}
CONSTRAINTS: Mapping[str, Constraint] = {
    "an ordinary schema": Constraint.json_schema(ORDINARY),
    "a schema with bounds": Constraint.json_schema(PERSON),
    "a regular expression": Constraint.regex(r"([a-z]+ )+"),
}


class Turn(NamedTuple):
    """Seconds to the first token of a turn, with what was computed before and without."""

    before: int
    new: int
    kept_s: float
    fresh_s: float


def measure_turns(chat: ChatSampler) -> list[Turn]:
    """Returns the turns of one conversation."""
    turns = []
    chat.reset()
    for _ in range(TURNS):
        known = len(chat.last_state.token_ids[0]) if chat.last_state else 0
        begin = time.perf_counter()
        pieces = chat.stream(QUESTION, max_new_tokens=ANSWER)
        next(pieces)
        kept_s = time.perf_counter() - begin
        for _ in pieces:
            pass
        assert chat.last_state is not None
        total = len(chat.last_state.token_ids[0])
        asked = chat.conversation.turns[:-1]
        begin = time.perf_counter()
        fresh = chat.sampler.stream(type(chat.conversation)(asked), max_new_tokens=1)
        next(fresh)
        fresh_s = time.perf_counter() - begin
        turns.append(Turn(known, total - known, kept_s, fresh_s))
    return turns


def step_seconds(sampler: Sampler, **options: Any) -> float:
    """Returns the seconds of a token, the first ones left out."""
    marks = []
    for _ in sampler.stream(
        "Write about a person.\n", max_new_tokens=TOKENS, **options
    ):
        marks.append(time.perf_counter())
    rest = marks[8:]
    return (rest[-1] - rest[0]) / (len(rest) - 1)


def in_turn(measures: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """Returns the median of each measure, taken in turn with the others."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(ROUNDS + 1):
        for name, measure in measures.items():
            found[name].append(measure())
    return {name: statistics.median(values[1:]) for name, values in found.items()}


def mask_seconds(sampler: Sampler, constraint: Constraint) -> float:
    """Returns the seconds that a matcher takes for a token, without the model."""
    ids = sampler.generate(
        "Write about a person.\n", constraint=constraint, max_new_tokens=TOKENS
    ).token_ids
    matcher = sampler._grammars.start(constraint, max_tokens=TOKENS)
    times = []
    for token_id in ids:
        begin = time.perf_counter()
        _ = matcher.allowed
        matcher.accept(token_id)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> None:
    sampler = Sampler.from_pretrained()
    chat = ChatSampler.from_pretrained(multi_turn=True)
    # An answer of a given length, of words.
    chat._forbidden_tokens = tuple(chat.sampler.tokenizer.stop_ids)
    measure_turns(chat)  # compiles
    turns = measure_turns(chat)
    plain = {"free": lambda: step_seconds(sampler)}
    steps = in_turn(
        plain
        | {
            name: lambda constraint=constraint: step_seconds(
                sampler, constraint=constraint
            )
            for name, constraint in CONSTRAINTS.items()
        }
    )
    masks = {name: mask_seconds(sampler, c) for name, c in CONSTRAINTS.items()}
    text = report(turns, steps, masks)
    (HERE / "CHAT.md").write_text(text)
    print(text)


def report(
    turns: list[Turn], steps: Mapping[str, float], masks: Mapping[str, float]
) -> str:
    rows = [
        f"| {i} | {turn.before:,} | {turn.new} | {1e3 * turn.kept_s:.0f} "
        f"| {1e3 * turn.fresh_s:.0f} |"
        for i, turn in enumerate(turns, 1)
        if i in (1, 2, 3, 4, 8, 12, 16, 20, 24)
    ]
    free = steps["free"]
    costs = [
        f"| {name} | {1e3 * steps[name]:.2f} | {steps[name] / free - 1:.1%} "
        f"| {1e3 * mask:.3f} | {mask / free:.1%} |"
        for name, mask in masks.items()
    ]
    return "\n".join(
        [
            "# Conversations and constraints",
            "",
            f"Gemma 3 270M, Q4_K_M GGUF, greedy; {date.today()}; `python benchmarks/chat.py`.",
            "",
            f"Machine: {describe(machine())}. Versions: {describe(versions())}.",
            "",
            "## What a turn costs",
            "",
            "Milliseconds to the first token of an answer. Each turn is the same question "
            f"and an answer of {ANSWER} tokens. Fresh: the same conversation without what "
            "was computed before.",
            "",
            "| turn | tokens before | new tokens, answer included | a turn | fresh |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "## What a constraint adds to a token",
            "",
            f"262,144 tokens in the vocabulary. Free: {1e3 * free:.2f} ms a token. Medians "
            f"of {ROUNDS} answers of {TOKENS} tokens, in turn. The matcher looks at a token "
            "while the model takes it in; its share is of a free step.",
            "",
            "| constraint | a token, ms | more than free | of this the matcher, ms | share |",
            "|---|---|---|---|---|",
            *costs,
            "",
        ]
    )


if __name__ == "__main__":
    main()
