"""gemma generate: one prompt in, text out as it is made."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from gemma.cli.errors import INTERRUPTED, CommandError, explained
from gemma.cli.escapes import unescaped
from gemma.cli.options import (
    CacheLengthOption,
    JsonOption,
    ModelOption,
    SeedOption,
    TextArgument,
    WeightsOption,
)
from gemma.cli.sampling import (
    BiasOption,
    ChoiceOption,
    FrequencyOption,
    MinPOption,
    PresenceOption,
    RegexOption,
    RepetitionOption,
    SamplingOption,
    SchemaOption,
    TopKOption,
    TopPOption,
    make_constraint,
    make_sampling,
)
from gemma.cli.stdin import read_prompt, read_text
from gemma.cli.stopwatch import Stopwatch
from gemma.cli.terminal import PromptBar, loading_bar, note, write, write_json

if TYPE_CHECKING:
    from gemma.gm.text import Piece, Prompt, Reading, Tokenizer


@explained
def generate(
    prompt: TextArgument = None,
    model: ModelOption = None,
    max_new_tokens: Annotated[
        int,
        typer.Option(
            "--max-new-tokens", "-n", metavar="N", help="Most tokens to make."
        ),
    ] = 128,
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="0 takes the most probable token each time. Default: 0, or 1 if "
            "--top-k, --top-p, --min-p or --seed is given; with --sampling model what "
            "the checkpoint recommends.",
        ),
    ] = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    min_p: MinPOption = None,
    repetition_penalty: RepetitionOption = None,
    presence_penalty: PresenceOption = None,
    frequency_penalty: FrequencyOption = None,
    logit_bias: BiasOption = None,
    sampling: SamplingOption = None,
    seed: SeedOption = None,
    schema: SchemaOption = None,
    regex: RegexOption = None,
    choice: ChoiceOption = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="End before this text, where \\n, \\t, \\r, \\\\, \\xNN and \\uNNNN are "
            "read. Repeatable.",
        ),
    ] = None,
    forbid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="Never make this token, written as for --stop. Repeatable.",
        ),
    ] = None,
    fim_prefix: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Write what stands between this text and --fim-suffix, as CodeGemma "
            "can; - reads it from stdin.",
        ),
    ] = None,
    fim_suffix: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The text behind; - reads it from stdin."),
    ] = None,
    cache_length: CacheLengthOption = None,
    weights: WeightsOption = None,
    echo: Annotated[bool, typer.Option("--echo", help="Print the prompt too.")] = False,
    json: JsonOption = False,
) -> None:
    """Continue a text, or fill in the middle of one."""
    ends, forbidden = _unescaped("--stop", stop), _unescaped("--forbid", forbid)
    constraint = make_constraint(schema, regex, choice)
    task = _read_task(prompt, fim_prefix, fim_suffix)
    start = time.perf_counter()
    from gemma.gm.text import read_ahead

    reading = read_ahead(model, dtype=weights)
    from gemma.gm.text import Sampler  # and JAX, while files are read

    asked = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty,
        "logit_bias": logit_bias,
    }
    own = _own_sampling(asked, seed)
    drawn = make_sampling(asked, own, whose=sampling, path=reading.path)
    given, stop_tokens = _encoded(task, reading)
    with loading_bar() as progress:
        sampler = Sampler.from_pretrained(
            reading, dtype=weights, cache_length=cache_length, progress=progress
        )
    load_s = time.perf_counter() - start
    watch, bar = Stopwatch(), PromptBar()
    pieces = watch.watch(
        sampler.stream(
            given,
            max_new_tokens=max_new_tokens,
            sampling=drawn,
            rng=seed,
            stop=ends,
            stop_tokens=stop_tokens,
            forbidden_tokens=forbidden,
            constraint=constraint,
            progress=bar.show,
        )
    )
    around = _surroundings(task, sampler.tokenizer) if echo else ("", "")
    with contextlib.closing(bar):
        if json:
            _write_object(task, around, pieces, load_s, watch)
            return
        _write_stream(around, pieces)
    note(_summary(watch))


class _Task(NamedTuple):
    """What the model is given.

    Attributes:
      text: What it continues; or what stands before the text that it writes.
      suffix: What stands behind that; None if it continues.
    """

    text: str
    suffix: str | None

    def named(self) -> dict[str, str]:
        """Returns the texts, by the keys of `--json`."""
        if self.suffix is None:
            return {"prompt": self.text}
        return {"fim_prefix": self.text, "fim_suffix": self.suffix}


def _read_task(
    prompt: str | None, fim_prefix: str | None, fim_suffix: str | None
) -> _Task:
    if fim_prefix is None and fim_suffix is None:
        task = _Task(read_prompt(prompt), None)
    elif fim_prefix is None or fim_suffix is None:
        raise typer.BadParameter("--fim-prefix and --fim-suffix need each other")
    elif prompt is not None:
        raise typer.BadParameter(
            "there is no other text beside --fim-prefix and --fim-suffix"
        )
    elif fim_prefix == fim_suffix == "-":
        raise typer.BadParameter("only one of the texts can come from stdin")
    else:
        task = _Task(read_text(fim_prefix), read_text(fim_suffix))
    if not task.text and not task.suffix:
        raise CommandError("The prompt is empty.", hint="Give a text to continue.")
    return task


def _unescaped(option: str, texts: list[str] | None) -> list[str]:
    try:
        return [unescaped(text) for text in texts or ()]
    except typer.BadParameter as error:
        raise typer.BadParameter(error.message, param_hint=option) from None


def _encoded(task: _Task, reading: "Reading") -> tuple["Prompt", list[int]]:
    """Returns the prompt, and what ends an answer besides the model's own tokens."""
    if task.suffix is None:
        return task.text, []
    tokenizer = reading.tokenizer.result()
    from gemma.gm.text import (
        fill_in_middle_prompt,
        fill_in_middle_stops,
    )

    prompt = fill_in_middle_prompt(tokenizer, task.text, task.suffix)
    return prompt, fill_in_middle_stops(tokenizer)


def _surroundings(task: _Task, tokenizer: "Tokenizer") -> tuple[str, str]:
    """Returns what `--echo` prints before and behind the answer."""
    if task.suffix is not None:
        return task.text, task.suffix
    ids = tokenizer.encode(task.text)
    return tokenizer.decode(ids, skip_control_tokens=True), ""


def _own_sampling(given: Mapping[str, Any], seed: int | None) -> dict[str, float]:
    """Returns our defaults: greedy, unless an option speaks of drawing."""
    drawing = given["top_k"], given["top_p"], given["min_p"], seed
    is_drawn = any(option is not None for option in drawing)
    return {"temperature": 1.0 if is_drawn else 0.0}


def _write_stream(around: tuple[str, str], pieces: Iterator["Piece"]) -> None:
    before, behind = around
    try:
        write(before)
        for piece in pieces:
            if piece.text:
                write(piece.text)
        write(behind)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    finally:
        write("\n")


def _write_object(
    task: _Task,
    around: tuple[str, str],
    pieces: Iterable["Piece"],
    load_s: float,
    watch: Stopwatch,
) -> None:
    """Writes what was made: at Ctrl-C too, then without a reason why it ended."""
    made, code, (before, behind) = [], 0, around
    try:
        made.extend(pieces)
    except KeyboardInterrupt:
        code = INTERRUPTED
    write_json(
        {
            **task.named(),
            "text": before + "".join(piece.text for piece in made) + behind,
            "token_ids": [piece.token_id for piece in made],
            "finish_reason": made[-1].finish_reason if made else None,
            "timing": {
                "load_s": load_s,
                "first_token_s": watch.first_s if made else None,
                "total_s": watch.total_s if made else None,
                "decode_tokens_per_s": watch.rate if made else None,
            },
        }
    )
    if code:
        raise typer.Exit(code)


def _summary(watch: Stopwatch) -> str:
    rate = f"{watch.rate:.1f} tok/s · " if watch.rate else ""
    return f"{len(watch.marks_s)} tokens · {rate}{watch.total_s:.1f} s"
