"""Chat templates that are known: those of the published families, by their content.

A template is compared by its Jinja tokens, so that other indentation, quotes and signs of
whitespace control do not matter, but each letter that it writes does.

Reference: the published checkpoints' `chat_template`; Jinja's "Whitespace Control", with
`trim_blocks` and `lstrip_blocks` as transformers sets them.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace

from gemma.gm.dialog._formats import GEMMA1, GEMMA2, GEMMA3, Format

_STRING = r"'(?:\\.|[^'\\])*'" + "|" + r'"(?:\\.|[^"\\])*"'
_TAG = re.compile(
    rf"(?P<open>\{{[{{%])(?P<left>[-+]?)(?P<code>(?:{_STRING}|[^'\"])*?)"
    r"(?P<right>[-+]?)(?P<close>[%}]\})"
    r"|\{#(?P<comment_left>[-+]?).*?(?P<comment_right>[-+]?)#\}",
    re.DOTALL,
)
_TOKEN = re.compile(rf"{_STRING}|\w+|[^\w\s]", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}

# In GGUF files of Google's QAT checkpoints one line end follows the system text.
_GEMMA3_QAT = replace(GEMMA3, after_system="\n")
_KNOWN = {
    "fb48d98b75fe85bd": (GEMMA1, GEMMA2),
    "39413ac47deecbc3": (GEMMA3,),
    "5b50f94831201be6": (_GEMMA3_QAT,),
}
# Longer than all that are known.
_MOST_CHARACTERS = 10_000


def known_format(source: str, family: Format) -> Format | None:
    """Returns the format that a chat template writes, if it is a published one.

    Args:
        source: The template, in Jinja.
        family: The format of the model's family, which comes first where several families
            have the same template.
    """
    if len(source) > _MOST_CHARACTERS:
        return None
    formats = _KNOWN.get(template_digest(source), ())
    return family if family in formats else next(iter(formats), None)


def template_digest(source: str) -> str:
    """Returns a digest of what a template does: equal for equal Jinja tokens."""
    return hashlib.sha256("\0".join(_tokens(source)).encode()).hexdigest()[:16]


def _tokens(source: str) -> Iterator[str]:
    place, tag = 0, None
    for found in [*_TAG.finditer(source), None]:
        end = len(source) if found is None else found.start()
        if text := _written(source[place:end], tag, found):
            yield f"text {text}"
        if found is None:
            return
        if found["open"]:
            yield found["open"]
            yield from map(_canonical, _TOKEN.findall(found["code"]))
            yield found["close"]
        place, tag = found.end(), found


def _written(
    text: str, before: re.Match[str] | None, after: re.Match[str] | None
) -> str:
    """Returns what is written of the text between two tags."""
    if before is not None:
        sign = before["right"] or before["comment_right"]
        if sign == "-":
            text = text.lstrip()
        elif before["open"] != "{{" and sign != "+":
            text = text.removeprefix("\n")
    if after is None:
        return text.removesuffix("\n")
    sign = after["left"] or after["comment_left"]
    if sign == "-":
        return text.rstrip()
    if after["open"] != "{{" and sign != "+":
        return re.sub(r"(^|\n)[ \t]*$", r"\1", text)
    return text


def _canonical(token: str) -> str:
    """Returns a token; of a string, what it holds."""
    if token[0] not in "'\"":
        return token
    content = re.sub(
        r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), token[1:-1], flags=re.DOTALL
    )
    return f"string {content}"
