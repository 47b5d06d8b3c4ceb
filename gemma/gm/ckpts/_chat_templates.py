"""The chat templates of a checkpoint, and the tokens that they name.

Reference: `chat_template.jinja`, `chat_template.json`, `additional_chat_templates/` and
`tokenizer_config.json` of transformers; `tokenizer.chat_template` of GGUF files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._gguf import find_gguf, read_gguf_metadata
from gemma.gm.ckpts._json import read_json_object

_DEFAULT = "default"
_SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")


class StoredTemplates(NamedTuple):
    """What a checkpoint says about conversations.

    Attributes:
      templates: Templates in Jinja, by name; most checkpoints have one, "default".
      special_tokens: Variables of them, such as `bos_token`, where they are stated.
    """

    templates: Mapping[str, str]
    special_tokens: Mapping[str, str]

    @property
    def default(self) -> str | None:
        """The template that is meant where none is named."""
        return self.templates.get(_DEFAULT)


def read_chat_templates(
    path: Path, gguf_metadata: Mapping[str, Any] | None = None
) -> StoredTemplates:
    """Returns the templates of a checkpoint; none, if it has none.

    Args:
      path: A checkpoint, as `open_checkpoint` takes it, or one of its files.
      gguf_metadata: What a GGUF file states, if it has been read.

    Raises:
      CheckpointError: A file is damaged.
    """
    if gguf_metadata is None and (gguf := find_gguf(path)):
        gguf_metadata = read_gguf_metadata(gguf)
    if gguf_metadata is not None:
        template = gguf_metadata.get("tokenizer.chat_template")
        return StoredTemplates(_named({"chat_template": template}, path), {})
    folder = path if path.is_dir() else path.parent
    stated = read_json_object(folder / "tokenizer_config.json", is_optional=True)
    tokens = {name: _content(stated.get(name)) for name in _SPECIAL_TOKENS}
    own = read_json_object(folder / "chat_template.json", is_optional=True)
    found = _read_jinja(folder) or _named(own, folder) or _named(stated, folder)
    return StoredTemplates(found, {k: v for k, v in tokens.items() if v})


def _read_jinja(folder: Path) -> dict[str, str]:
    """Returns the templates that are files of their own."""
    files = {
        path.stem: path for path in folder.glob("additional_chat_templates/*.jinja")
    }
    if (main := folder / "chat_template.jinja").exists():
        files[_DEFAULT] = main
    return {name: _read_text(path) for name, path in files.items()}


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None


def _named(stated: Mapping[str, Any], where: object) -> dict[str, str]:
    """Returns the templates of a JSON file, where one is a str and several are a list."""
    entries: list[Any]
    match stated.get("chat_template"):
        case None | "":
            return {}
        case str(template):
            return {_DEFAULT: template}
        case dict(templates):
            entries = list(templates.items())
        case [*entries] if all(isinstance(entry, dict) for entry in entries):
            entries = [(entry.get("name"), entry.get("template")) for entry in entries]
        case _:
            entries = [(None, None)]
    if not all(isinstance(part, str) for entry in entries for part in entry):
        raise CheckpointError(
            f"{where} states a chat_template that is neither a text nor a list of "
            '{"name": ..., "template": ...}.'
        )
    return dict(entries)


def _content(token: Any) -> str | None:
    """Returns the text of a special token, which may be stated with its settings."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None
