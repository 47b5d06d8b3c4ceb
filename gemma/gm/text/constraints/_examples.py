"""Texts that match an expression, or at least are worth a try."""

import re
import string

# One text for each format that llguidance knows.
FORMAT_EXAMPLES = {
    "date-time": "2000-01-01T00:00:00Z",
    "date": "2000-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "a@a",
    "hostname": "a",
    "ipv4": "0.0.0.0",
    "ipv6": "::",
    "uri": "a:",
    "uuid": "00000000-0000-0000-0000-000000000000",
}
_LETTERS = string.ascii_lowercase + string.digits + string.ascii_uppercase
_CANDIDATES = _LETTERS + string.punctuation + " \n\té一"
_ESCAPES = {
    "d": "0", "D": "a", "w": "a", "W": "-", "s": " ", "S": "a",
    "n": "\n", "t": "\t", "r": "\r", "f": "\f", "b": "", "B": "", "A": "", "z": "",
}  # fmt: skip
_TOKEN = re.compile(
    r"(?P<flags>\(\?[a-zA-Z-]+\))|(?P<open>\((?:\?(?:P?<\w+>|[a-zA-Z-]*:))?)"
    r"|(?P<close>\))|(?P<bar>\|)|(?P<anchor>[$^])"
    r"|(?P<count>[*?+]\??|\{(?P<least>\d+)(?:,\d*)?\}\??)"
    r"|(?P<class>\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|\\x(?P<hex>[0-9a-fA-F]{2})|\\u(?P<code>[0-9a-fA-F]{4})"
    r"|\\(?P<escape>[^pPkxu\d])|(?P<letter>[^\\])",
    re.DOTALL,
)
_MAX_LENGTH = 10_000


def example_of(pattern: str) -> str | None:
    """Returns a short text that seems to match a pattern, or None.

    It does not know all there is in expressions, so the text has to be checked.
    """
    # Of each open group: the alternatives before, the one that is being read.
    groups: list[tuple[list[str], list[str]]] = [([], [])]
    place = 0
    while place < len(pattern):
        found = _TOKEN.match(pattern, place)
        if found is None or not _take(found, groups):
            return None
        place = found.end()
    return _closed(groups.pop()) if len(groups) == 1 else None


def _take(found: re.Match[str], groups: list[tuple[list[str], list[str]]]) -> bool:
    """Reads a token; returns whether it made sense."""
    done, parts = groups[-1]
    match found.lastgroup:
        case "open":
            groups.append(([], []))
        case "close":
            if len(groups) == 1:
                return False
            groups[-2][1].append(_closed(groups.pop()))
        case "bar":
            done.append("".join(parts))
            parts.clear()
        case "count":
            return bool(parts) and _repeat(found, parts)
        case "anchor" | "flags":
            parts.append("")
        case _:
            letter = _letter(found)
            parts.append(letter or "")
            return letter is not None
    return True


def _repeat(found: re.Match[str], parts: list[str]) -> bool:
    least = int(found["least"] or (found["count"][0] == "+"))
    if least * len(parts[-1]) > _MAX_LENGTH:
        return False
    parts[-1] *= least
    return True


def _letter(found: re.Match[str]) -> str | None:
    match found.lastgroup:
        case "class":
            return _member(found["class"])
        case "hex" | "code":
            return chr(int(found[found.lastgroup], 16))
        case "escape":
            return _ESCAPES.get(found["escape"], found["escape"])
    return "a" if found[0] == "." else found[0]


def _member(letters: str) -> str | None:
    """Returns a letter of a class such as `[^a-z]`."""
    if re.search(r"\[|&&|--|~~", letters[1:]):
        return None  # Rust reads on where Python would warn
    try:
        is_in = re.compile(letters).fullmatch
    except re.error:
        return None
    return next((letter for letter in _CANDIDATES + letters if is_in(letter)), None)


def _closed(group: tuple[list[str], list[str]]) -> str:
    done, parts = group
    return min([*done, "".join(parts)], key=len)
