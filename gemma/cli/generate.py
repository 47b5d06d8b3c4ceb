"""gemma generate: one prompt in, text out as it is made."""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from gemma.cli.errors import INTERRUPTED, CommandError, explained
from gemma.cli.options import (
    CacheLengthOption,
    JsonOption,
    ModelOption,
    TextArgument,
    WeightsOption,
    read_text,
)
from gemma.cli.stopwatch import Stopwatch
from gemma.cli.terminal import loading_bar, note, write, write_json

if TYPE_CHECKING:
    from gemma.gm.text import Piece, Sampling


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
            "--top-k, --top-p, --min-p or --seed is given.",
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(metavar="K", help="Draw among the K most probable tokens."),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            metavar="P", help="Draw among the best tokens that together have mass P."
        ),
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Draw among tokens at least P times as likely as the best.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Make the draws repeatable.")
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="End before this text. Repeatable."),
    ] = None,
    forbid: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Never make this token. Repeatable."),
    ] = None,
    cache_length: CacheLengthOption = None,
    weights: WeightsOption = None,
    echo: Annotated[bool, typer.Option("--echo", help="Print the prompt too.")] = False,
    json: JsonOption = False,
) -> None:
    """Continue a text."""
    text = read_text(prompt)
    if not text:
        raise CommandError("The prompt is empty.", hint="Give a text to continue.")
    start = time.perf_counter()
    from gemma.gm.text import read_ahead

    reading = read_ahead(model, dtype=weights)
    from gemma.gm.text import Sampler  # and JAX, while files are read

    sampling = _sampling(temperature, top_k, top_p, min_p, seed)
    with loading_bar() as progress:
        sampler = Sampler.from_pretrained(
            reading, dtype=weights, cache_length=cache_length, progress=progress
        )
    load_s = time.perf_counter() - start
    watch = Stopwatch()
    pieces = watch.watch(
        sampler.stream(
            text,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            rng=seed,
            stop=stop or (),
            forbidden_tokens=forbid or (),
        )
    )
    prefix = ""
    if echo:
        ids = sampler.tokenizer.encode(text)
        prefix = sampler.tokenizer.decode(ids, skip_control_tokens=True)
    if json:
        _write_object(text, prefix, pieces, load_s, watch)
        return
    _write_stream(prefix, pieces)
    note(_summary(watch))


def _sampling(
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    seed: int | None,
) -> "Sampling":
    """Returns how tokens are drawn: greedily, unless an option speaks of drawing."""
    from gemma.gm.text import Sampling

    if temperature is None:
        is_drawn = any(option is not None for option in (top_k, top_p, min_p, seed))
        temperature = 1.0 if is_drawn else 0.0
    return Sampling(
        temperature=temperature,
        top_k=top_k,
        top_p=1.0 if top_p is None else top_p,
        min_p=0.0 if min_p is None else min_p,
    )


def _write_stream(prefix: str, pieces: Iterator["Piece"]) -> None:
    try:
        write(prefix)
        for piece in pieces:
            if piece.text:
                write(piece.text)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    finally:
        write("\n")


def _write_object(
    prompt: str,
    prefix: str,
    pieces: Iterable["Piece"],
    load_s: float,
    watch: Stopwatch,
) -> None:
    made = list(pieces)
    write_json(
        {
            "prompt": prompt,
            "text": prefix + "".join(piece.text for piece in made),
            "token_ids": [piece.token_id for piece in made],
            "finish_reason": made[-1].finish_reason,
            "timing": {
                "load_s": load_s,
                "first_token_s": watch.first_s,
                "total_s": watch.total_s,
                "decode_tokens_per_s": watch.rate,
            },
        }
    )


def _summary(watch: Stopwatch) -> str:
    rate = f"{watch.rate:.1f} tok/s · " if watch.rate else ""
    return f"{len(watch.marks_s)} tokens · {rate}{watch.total_s:.1f} s"
