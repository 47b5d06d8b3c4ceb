"""Turns <-> the message dicts of OpenAI's API and transformers.

A turn that is written and read again is the same turn, as long as its images are named
by strings: a path comes back as a string, and pixels as the URL that holds them.
"""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gemma.gm.dialog._conversation import (
    Image,
    Part,
    Role,
    Text,
    Turn,
    type_name,
)

_URL_SCHEMES = ("http://", "https://", "data:")


def read_message(message: Mapping[str, Any], where: str) -> Turn:
    """Returns the turn that a message states; errors start with `where`."""
    if not isinstance(message, Mapping):
        raise TypeError(f"{where} is {type_name(message)}; a message is a dict.")
    # Other programs write keys they do not use as None or []: nothing is lost with those.
    extra = {k: v for k, v in message.items() if v and k not in ("role", "content")}
    # A model that calls tools may say nothing besides.
    needed = ("role",) if extra.get("tool_calls") else ("role", "content")
    for key in needed:
        if key not in message:
            raise ValueError(f"{where} has no {key!r}. A message has role and content.")
    content = message.get("content")
    try:
        if content is None and extra.get("tool_calls"):
            return Turn(Role(message["role"]), (), extra)
        return Turn(Role(message["role"]), _read_content(content), extra)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: {error}") from None


def write_message(
    turn: Turn, where: str, encode_image: Callable[[object], str] | None
) -> dict[str, Any]:
    """Returns the message that states a turn; errors start with `where`."""
    role = "assistant" if turn.role is Role.MODEL else str(turn.role)
    if not turn.parts and turn.extra.get("tool_calls"):
        return {"role": role, "content": None, **turn.extra}
    match turn.parts:
        case (Text(text, False, extra),) if not extra:
            return {"role": role, "content": text, **turn.extra}
    items = [_write_item(part, where, encode_image) for part in turn.parts]
    return {"role": role, "content": items, **turn.extra}


def _read_content(content: object) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(content),)
    if isinstance(content, list | tuple):
        return tuple(_read_item(item) for item in content)
    raise TypeError(f"Content is a str or a list of items, not {type_name(content)}.")


def _read_item(item: object) -> Part:
    if not isinstance(item, Mapping):
        raise TypeError(f"An item of content is a dict, not {type_name(item)}.")
    match item:
        case {"type": "text", "text": text}:
            known = ("type", "text", "is_verbatim")
            extra = {key: value for key, value in item.items() if key not in known}
            is_verbatim = item.get("is_verbatim") is True
            return Text(text, is_verbatim, {k: v for k, v in extra.items() if v})
        case {"type": "image_url", "image_url": {"url": url}}:
            return Image(url)
        case {"type": "image", "base64": str(text)} if not text.startswith("data:"):
            return Image(_decoded(text))
        case {"type": "image"}:
            keys = ("image", "url", "path", "base64")
            return Image(next((item[key] for key in keys if key in item), None))
    raise ValueError(
        f"Cannot read the item {dict(item)!r}. Items are"
        " {'type': 'text', 'text': ...} or {'type': 'image', 'image': ...}."
    )


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise ValueError(f"The image under 'base64' is no base64 ({error}).") from None


def _write_item(
    part: Part, where: str, encode_image: Callable[[object], str] | None
) -> dict[str, Any]:
    if isinstance(part, Text):
        item = {"type": "text", "text": part.text, **part.extra}
        return item | ({"is_verbatim": True} if part.is_verbatim else {})
    if part.source is None:
        return {"type": "image"}
    source = _name_of_image(part.source, where, encode_image)
    # OpenAI's API has a form for URLs only; transformers reads both.
    if source.startswith(_URL_SCHEMES):
        return {"type": "image_url", "image_url": {"url": source}}
    return {"type": "image", "image": source}


def _name_of_image(
    source: object, where: str, encode_image: Callable[[object], str] | None
) -> str:
    """Returns the path or URL of an image; one that holds the image if need be."""
    if isinstance(source, str | Path):
        return str(source)
    if isinstance(source, bytes) and (media_type := _media_type(source)):
        return f"data:{media_type};base64,{base64.b64encode(source).decode()}"
    if encode_image is None:
        raise TypeError(
            f"{where} has an image given as {type_name(source)}. A str, a Path, and the"
            " bytes of a PNG, JPEG, GIF or WebP file can be written. For others pass"
            " encode_image, a function that returns a path or URL, such as"
            " gm.vision.encode_image."
        )
    name = encode_image(source)
    if not isinstance(name, str):
        raise TypeError(
            f"{where}: encode_image returned {type_name(name)}; a str is needed."
        )
    return name


def _media_type(content: bytes) -> str | None:
    """Returns the type of an image file, by its first bytes."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    beginnings = {
        b"\x89PNG\r\n\x1a\n": "image/png",
        b"\xff\xd8\xff": "image/jpeg",
        b"GIF87a": "image/gif",
        b"GIF89a": "image/gif",
    }
    found = (name for start, name in beginnings.items() if content.startswith(start))
    return next(found, None)
