"""Markdown as models write it: what is no markup for certain stays as it was written."""

import functools
import itertools
import string
from collections.abc import Callable
from typing import TypeAlias

from markdown_it import MarkdownIt
from markdown_it.rules_inline import (
    StateInline,
    autolink,
    emphasis,
    link,
    strikethrough,
)

_Rule: TypeAlias = Callable[[StateInline, bool], bool]

# What may stand before a marker that opens, and behind one that closes: 2*3*4, *args
# and src/*/*.py are no emphasis. Letters that are not ASCII may: Chinese has no spaces.
_BEFORE = frozenset("([{<\"'-:,;>|*_~")
_BEHIND = frozenset(")]}>\"'-.:,;!?<|*_~")
# What a path, a formula or a call has beside a star that is meant.
_NOT_WITHIN = frozenset("./\\=&,;")


@functools.cache
def parser() -> MarkdownIt:
    """Returns a parser that gives every letter and digit of a text back.

    Links are one token, `link`, with the text that was written. HTML, entities,
    definitions of references and underscores are text.
    """
    found = MarkdownIt("commonmark", {"html": False})
    found.enable(["strikethrough", "table"])
    found.disable(["reference", "entity", "html_inline", "html_block", "image"])
    rules = found.inline.ruler
    rules.at("escape", _escape)
    rules.at("link", _as_written(link))
    rules.at("autolink", _as_written(autolink))
    rules.at("emphasis", _emphasis)
    rules.at("strikethrough", _strikethrough)
    return found


def split_blocks(text: str) -> list[str]:
    """Returns the blocks of a Markdown text: paragraphs, lists, code.

    All but the last stay as they are, whatever whole lines come behind.
    """
    starts = [t.map[0] for t in parser().parse(text) if t.level == 0 and t.map]
    # Not splitlines(), which knows more line ends than Markdown does.
    lines = text.split("\n")
    bounds = [0, *starts[1:], len(lines)]
    blocks = ["\n".join(lines[a:b]) + "\n" for a, b in itertools.pairwise(bounds)]
    return [*blocks[:-1], blocks[-1].removesuffix("\n")]


def _escape(state: StateInline, silent: bool) -> bool:
    """A backslash makes text of the mark behind it, and is text itself."""
    pair = state.src[state.pos : min(state.pos + 2, state.posMax)]
    if len(pair) < 2 or pair[0] != "\\" or pair[1] not in string.punctuation:
        return False
    if not silent:
        state.pending += pair
    state.pos += 2
    return True


def _as_written(rule: _Rule) -> _Rule:
    """Returns a rule that finds what another one does, and shows the text of it."""

    def show(state: StateInline, silent: bool) -> bool:
        start = state.pos
        if not rule(state, True):
            return False
        if not silent:
            state.push("link", "link", 0).content = state.src[start : state.pos]
        return True

    return show


def _emphasis(state: StateInline, silent: bool) -> bool:
    # Names such as __init__ and _x are far more frequent than emphasis by underscores.
    return state.src[state.pos] != "_" and _marked(state, silent, emphasis.tokenize)


def _strikethrough(state: StateInline, silent: bool) -> bool:
    return _marked(state, silent, strikethrough.tokenize)


def _marked(state: StateInline, silent: bool, rule: _Rule) -> bool:
    """Applies a rule for markers, which open and close at the edges of words only."""
    start, num_known = state.pos, len(state.delimiters)
    if not rule(state, silent):
        return False
    before, behind = state.src[:start][-1:], state.src[state.pos :][:1]
    may_open = _is_edge(before, _BEFORE) and behind not in _NOT_WITHIN
    may_close = _is_edge(behind, _BEHIND) and before not in _NOT_WITHIN
    for delimiter in state.delimiters[num_known:]:
        delimiter.open &= may_open
        delimiter.close &= may_close
    return True


def _is_edge(char: str, marks: frozenset[str]) -> bool:
    return not char.strip() or not char.isascii() or char in marks
