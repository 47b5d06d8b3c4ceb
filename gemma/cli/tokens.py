"""gemma tokens: text to token ids and back."""

from typing import TYPE_CHECKING, Annotated

import typer

from gemma.cli.errors import CommandError, explained
from gemma.cli.options import JsonOption, ModelOption, TextArgument
from gemma.cli.stdin import read_prompt, read_text
from gemma.cli.terminal import write, write_json

if TYPE_CHECKING:
    from gemma.gm.text import Tokenizer


@explained
def tokens(
    text: TextArgument = None,
    model: ModelOption = None,
    ids_only: Annotated[
        bool, typer.Option("--ids", help="Print the ids alone, on one line.")
    ] = False,
    decode: Annotated[
        str | None,
        typer.Option(
            metavar="IDS",
            help='The other way: the text of ids such as "2 9259"; - for stdin.',
        ),
    ] = None,
    plain: Annotated[
        bool,
        typer.Option("--plain", help="Take names of control tokens for plain text."),
    ] = False,
    bos: Annotated[bool, typer.Option("--bos", help="Begin with <bos>.")] = False,
    json: JsonOption = False,
) -> None:
    """Show the tokens of a text, or the text of tokens."""
    if decode is not None and (text is not None or ids_only or plain or bos):
        raise typer.BadParameter(
            "it takes --model and --json, and nothing else", param_hint="--decode"
        )
    given = read_prompt(text) if decode is None else read_text(decode)
    tokenizer = _read_tokenizer(model)
    if decode is None:
        ids = tokenizer.encode(given, add_bos=bos, control_tokens=not plain)
    else:
        ids = _parse_ids(given)
        given = tokenizer.decode(ids)
    pieces = [tokenizer.piece(token_id) for token_id in ids]
    if json:
        write_json({"text": given, "ids": ids, "pieces": pieces})
    elif decode is not None:
        write(given + "\n")
    elif ids_only:
        write(" ".join(map(str, ids)) + "\n")
    else:
        rows = zip(ids, map(_printable, pieces), strict=True)
        write("".join(f"{token_id}\t{piece}\n" for token_id, piece in rows))


def _read_tokenizer(model: str | None) -> "Tokenizer":
    from gemma.gm import hub
    from gemma.gm.text import Tokenizer

    return Tokenizer.from_path(hub.resolve(model))


def _parse_ids(text: str) -> list[int]:
    """Reads ids with spaces or commas between them, in brackets or not."""
    words = text.strip().removeprefix("[").removesuffix("]").replace(",", " ").split()
    for word in words:
        # NumPy's integers have 64 bits; no id has 19 digits.
        if not (word.isascii() and word.isdecimal()) or len(word) > 18:
            raise CommandError(
                f"{word!r} is not a token id.", hint='Give numbers: --decode "2 9259"'
            )
    return [int(word) for word in words]


def _printable(piece: str) -> str:
    r"""Returns a piece on one line, such as `\n` for a line end."""
    return "".join(
        character
        if character.isprintable() and character != "\\"
        else character.encode("unicode_escape").decode()
        for character in piece
    )
