"""gemma chat: a conversation at a terminal, or over pipes."""

import os
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemma.cli.errors import CommandError, explained, say
from gemma.cli.interrupt import end_in_order_at_ctrl_c
from gemma.cli.options import (
    CacheLengthOption,
    JsonLinesOption,
    ModelOption,
    SeedOption,
    TemplateOption,
    WeightsOption,
    parse_object,
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
from gemma.cli.stdin import decode_text
from gemma.cli.terminal import loading_bar

if TYPE_CHECKING:
    from gemma.cli.chat._loop import Screen
    from gemma.cli.chat._session import ChatSession
    from gemma.gm.text import ChatSampler, Reading

# What the library is told of the longest answer; it is asked for fewer tokens.
_NO_LIMIT = 1 << 30
# What Gemma 3 and its successors recommend.
_OWN = {"temperature": 1.0, "top_k": 64, "top_p": 0.95}
_PRETRAINED = (
    "This model is pre-trained, not instruction-tuned: it continues what you write "
    "rather than answers. For answers: --model gemma-3-1b-it"
)


@explained
def chat(
    model: ModelOption = None,
    system: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Instructions for the whole conversation."),
    ] = None,
    max_new_tokens: Annotated[
        int,
        typer.Option(
            "--max-new-tokens",
            "-n",
            min=1,
            metavar="N",
            help="Most tokens of an answer.",
        ),
    ] = 2048,
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="0 takes the most probable token each time. Default: 1, with --top-k 64 "
            "and --top-p 0.95.",
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
    cache_length: CacheLengthOption = None,
    template_kwargs: TemplateOption = None,
    drop_oldest: Annotated[
        bool,
        typer.Option(
            "--drop-oldest", help="Forget the oldest turns when the cache is full."
        ),
    ] = False,
    weights: WeightsOption = None,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain", help="Show answers as they are written, Markdown marks and all."
        ),
    ] = False,
    json: JsonLinesOption = False,
) -> None:
    """Talk with a model."""
    if sys.stdin is None:
        raise CommandError("There is no stdin.", hint="Type, or use a pipe.")
    system = decode_text(os.fsencode(system)) if system else None
    from gemma.cli.chat._params import ChatParams
    from gemma.cli.chat._session import ChatSession
    from gemma.cli.chat._tuning import is_tuned
    from gemma.gm.text import read_ahead

    if json and sys.stdin.isatty():
        raise typer.BadParameter("it answers lines of a pipe", param_hint="--json")
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
    constraint = make_constraint(schema, regex, choice)
    reading = read_ahead(model, dtype=weights)
    params = ChatParams(
        sampling=make_sampling(asked, _OWN, whose=sampling, path=reading.path),
        max_new_tokens=max_new_tokens,
        seed=seed,
    )
    sampler = _load(
        reading,
        dtype=weights,
        cache_length=cache_length,
        drop_oldest=drop_oldest,
        system=system,
        chat_template_kwargs=parse_object("--chat-template-kwargs", template_kwargs),
    )
    name = _model_name(model, reading.path)
    metadata = reading.gguf.metadata if reading.gguf else None
    if not is_tuned(model, reading.path, metadata):
        say(_PRETRAINED)
    session = ChatSession(
        name, sampler, params, drop_oldest=drop_oldest, constraint=constraint
    )
    _converse(session, is_plain=plain, is_json=json)


def _load(reading: "Reading", **options: Any) -> "ChatSampler":
    from gemma.cli.chat._session import check_system
    from gemma.gm.text import ChatSampler  # and JAX, while files are read

    with loading_bar() as progress:
        sampler = ChatSampler.from_pretrained(
            reading,
            progress=progress,
            multi_turn=True,
            max_out_length=_NO_LIMIT,
            **options,
        )
    if sampler.system is not None:
        check_system(sampler)
    return sampler


def _converse(session: "ChatSession", *, is_plain: bool, is_json: bool) -> None:
    """Talks with whoever is at stdin."""
    from gemma.cli.chat._loop import answer_lines, talk
    from gemma.cli.chat._plain import PlainAnswer, SilentAnswer, piped_messages

    end_in_order_at_ctrl_c()  # of an answer: the conversation goes on
    way = "start with a larger --cache-length, or with --drop-oldest."
    if sys.stdin.isatty():
        session.ways_out = f"Use /undo or /clear, or {way}"
        talk(session, _screen(session, is_plain))
    else:
        session.ways_out = way.capitalize()
        view = SilentAnswer if is_json else PlainAnswer
        lines = piped_messages()
        answer_lines(session, lines, lambda: closing(view()), is_json=is_json)


def _screen(session: "ChatSession", is_plain: bool) -> "Screen":
    """Returns the best that this terminal can do."""
    is_dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    if is_dumb or sys.stdout is None or not sys.stdout.isatty():
        from gemma.cli.chat._plain import PlainTerminal

        return PlainTerminal()
    from gemma.cli.chat._params import param_names
    from gemma.cli.chat._terminal import Terminal
    from gemma.gm import hub

    history = hub.cache_dir() / "chat-history"
    screen = Terminal(history, param_names(session.params), is_plain=is_plain)
    screen.say(f"{session.name} · /help lists the commands, Ctrl-D leaves.")
    return screen


def _model_name(model: str | None, path: Path) -> str:
    """Returns what people call a model: the end of its name or path."""
    given = Path(model).expanduser() if model else path
    own = given.resolve() if given.exists() else given
    return own.name.removesuffix(".gguf")
