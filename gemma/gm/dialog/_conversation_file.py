"""A conversation as a file: JSON that other programs read too."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gemma.gm.dialog._conversation import Conversation, type_name


def save_conversation(
    conversation: Conversation,
    path: str | os.PathLike[str],
    *,
    encode_image: Callable[[object], str] | None = None,
) -> None:
    """Writes a conversation to a JSON file, `{"messages": [...]}`.

    The file appears whole or not at all, in the place of one that was there.

    Args:
        conversation: What was said.
        path: The file. Its folder is made if there is none.
        encode_image: As for `Conversation.to_messages`.

    Raises:
        TypeError: An image has a form that JSON cannot hold, and there is no
            `encode_image`.
        ValueError: A text holds half of a surrogate pair, which no file can hold.
    """
    messages = conversation.to_messages(encode_image=encode_image)
    for index, message in enumerate(messages):
        _check_unicode(message, f"messages[{index}]")
    content = json.dumps({"messages": messages}, ensure_ascii=False, indent=2)
    _write_whole(Path(path), f"{content}\n".encode())


def load_conversation(path: str | os.PathLike[str]) -> Conversation:
    """Returns the conversation in a file that `save_conversation` or another wrote.

    Args:
        path: A JSON file, `{"messages": [...]}`, with messages as
            `Conversation.from_messages` reads them.

    Raises:
        ValueError: The file is not JSON, or a message is not as it should be.
    """
    stated = _read_json(Path(path))
    match stated:
        case {"messages": list(messages)}:
            # Other programs write keys they do not use as None or [].
            for key in stated.keys() - {"messages"}:
                if stated[key]:
                    raise ValueError(
                        f"{path} has {key!r}, which is not supported: remove it."
                    )
        case _:
            raise ValueError(
                f"{path} holds {_shape(stated)}; a conversation is"
                ' {"messages": [{"role": ..., "content": ...}, ...]}.'
            )
    try:
        for index, message in enumerate(messages):
            _check_unicode(message, f"messages[{index}]")
        return Conversation.from_messages(messages)
    except (TypeError, ValueError) as error:
        # To the caller a file with the wrong types is a wrong value.
        raise ValueError(f"{path}: {error}") from None


def _check_unicode(message: object, where: str) -> None:
    try:
        json.dumps(message, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise ValueError(
            f"{where} holds {half!r}, one half of a surrogate pair: it is no character,"
            " and UTF-8 has no bytes for it. Remove it."
        ) from None


def _read_json(path: Path) -> Any:
    try:
        # Some editors begin a file with a byte order mark.
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not text in UTF-8 (byte {error.start}). Is it a conversation?"
        ) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from None
    except RecursionError:
        raise ValueError(
            f"{path} is not a conversation: its JSON is nested too deeply."
        ) from None


def _shape(stated: object) -> str:
    """Returns what a file holds, in a few words."""
    if isinstance(stated, dict):
        return f"an object with the keys {', '.join(map(repr, stated)) or '(none)'}"
    return f"a {type_name(stated)}"


def _write_whole(path: Path, content: bytes) -> None:
    """Writes beside the file and renames; who could read the old one can read this."""
    path = path.resolve()  # so that a link stays a link
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{os.urandom(4).hex()}")
    try:
        partial.write_bytes(content)
        if path.exists():
            partial.chmod(stat.S_IMODE(path.stat().st_mode))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
