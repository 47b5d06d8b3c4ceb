"""The files of a tokenizer: what they say beside its vocabulary, and new ones.

What was read from a file is written as it was, so that nothing in it is lost.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gemma.gm import ckpts
from gemma.hf._chat_template import DEFAULT_TEMPLATE, ChatTokenizer, Templates
from gemma.hf._special_tokens import SpecialTokens

_JSON, _MODEL = "tokenizer.json", "tokenizer.model"
_CONFIG, _MAP = "tokenizer_config.json", "special_tokens_map.json"
_TEMPLATE = "chat_template.jinja"
_MORE_TEMPLATES = "additional_chat_templates"
# Written anew, or of the vocabulary as it was when the file was written.
_REPLACED = (
    "added_tokens_decoder",
    "additional_special_tokens",
    "tokenizer_file",
    "chat_template",
)
_ADDED = re.compile(r'"added_tokens"\s*:\s*')


def special_ids(path: Path, control_tokens: Mapping[str, int]) -> frozenset[int]:
    """Returns the tokens that decoding may leave out.

    A tokenizer.json says of each added token whether it is special. Of tokens that are
    not in its list, and in other files, the name says so: all control tokens are, but
    for those that users may give a meaning, such as `<unused0>`.

    Args:
      path: The tokenizer's file, or its folder.
      control_tokens: Ids by name.
    """
    found = {i for name, i in control_tokens.items() if not ckpts.is_reserved(name)}
    for token in added_tokens(path / _JSON if path.is_dir() else path):
        change = found.add if token["special"] else found.discard
        change(token["id"])
    return frozenset(found)


def read_config(path: Path) -> dict[str, Any]:
    """Returns the tokenizer_config.json of a tokenizer, empty if there is none.

    Raises:
      CheckpointError: It holds no JSON object.
    """
    folder = path if path.is_dir() else path.parent
    return ckpts.read_json_object(folder / _CONFIG, is_optional=True)


def saved_files(
    tokenizer: ChatTokenizer,
    source: Path,
    settings: Mapping[str, Any],
    *,
    is_changed: bool,
    added: Mapping[int, Any],
) -> dict[str, bytes]:
    """Returns the files of a tokenizer by name.

    Args:
      tokenizer: The tokenizer.
      source: The file that it was read from, or its folder.
      settings: What tokenizer_config.json says of it.
      is_changed: Whether the vocabulary is no longer that of the source.
      added: The added tokens by id, if some were added since it was read.
    """
    kept = {n: v for n, v in read_config(source).items() if n not in _REPLACED}
    roles = tokenizer.special_tokens_map
    stated = kept | {"tokenizer_class": "GemmaTokenizer"} | dict(settings)
    stated |= {"extra_special_tokens": tokenizer.extra_special_tokens} | roles
    files = _vocabulary_files(tokenizer, None if is_changed else source)
    if added:
        # What was read is more than the vocabulary that it became: merges, normalizers.
        read = _read(source, (_JSON,)).get(_JSON, files[_JSON])
        rule = _text_rule(tokenizer)
        files[_JSON] = _with_added(_with_rule(read, rule), added)
    return {
        **files,
        **_template_files(tokenizer.chat_template),
        _CONFIG: ckpts.json_bytes(stated),
        _MAP: ckpts.json_bytes(roles),
    }


def _vocabulary_files(
    tokenizer: SpecialTokens, source: Path | None
) -> dict[str, bytes]:
    read = {} if source is None else _read(source, (_JSON, _MODEL))
    rule, inner = _text_rule(tokenizer), tokenizer.tokenizer
    if _JSON in read:
        stated = _with_rule(read[_JSON], rule)
    else:
        stated = ckpts.tokenizer_json(inner.vocabulary, rule=rule)
    return {_JSON: stated, _MODEL: read.get(_MODEL) or inner.model_bytes()}


def _text_rule(tokenizer: SpecialTokens) -> dict[str, Any]:
    """Returns how texts begin and end: of it transformers reads nothing elsewhere."""
    begin = tokenizer.bos_token, tokenizer.bos_token_id
    end = tokenizer.eos_token, tokenizer.eos_token_id
    return ckpts.text_rule(
        begin if tokenizer.add_bos_token else None,
        end if tokenizer.add_eos_token else None,
    )


def _with_rule(content: bytes, rule: Mapping[str, Any]) -> bytes:
    """Returns a tokenizer.json with a rule of texts, as it is if it has that one."""
    state = json.loads(content)
    if state.get("post_processor") == rule:
        return content
    return json.dumps({**state, "post_processor": rule}, ensure_ascii=False).encode()


def _with_added(content: bytes, added: Mapping[int, Any]) -> bytes:
    """Returns a tokenizer.json with other added tokens."""
    listed = [{"id": token_id, **vars(token)} for token_id, token in added.items()]
    state = {**json.loads(content), "added_tokens": listed}
    return json.dumps(state, ensure_ascii=False).encode()


def _template_files(templates: Templates) -> dict[str, bytes]:
    named = {DEFAULT_TEMPLATE: templates} if isinstance(templates, str) else {}
    named |= templates if isinstance(templates, Mapping) else {}
    main = named.pop(DEFAULT_TEMPLATE, None)
    files = {f"{_MORE_TEMPLATES}/{n}.jinja": text.encode() for n, text in named.items()}
    return files | ({} if main is None else {_TEMPLATE: main.encode()})


def write_files(folder: Path, files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Writes files into a folder, each at once; returns their paths.

    A chat template that was there before goes, unless there is a new one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with ckpts.whole_file(folder / name) as unfinished:
            unfinished.write_bytes(content)
    before = [*folder.glob(f"{_MORE_TEMPLATES}/*.jinja"), folder / _TEMPLATE]
    for path in [*before, folder / "chat_template.json"]:
        if str(path.relative_to(folder)) not in files:
            path.unlink(missing_ok=True)
    return tuple(str(folder / name) for name in files)


def _read(place: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Returns the files of some names in a folder, or the one file that a path is."""
    if place.is_dir():
        files = {name: place / name for name in names}
    else:
        files = {name: place for name in names if place.suffix == Path(name).suffix}
    return {name: path.read_bytes() for name, path in files.items() if path.is_file()}


def added_tokens(path: Path) -> list[dict[str, Any]]:
    """Returns the list of a tokenizer.json, which has been read before."""
    if path.suffix != ".json" or not path.is_file():
        return []
    # The list stands first: what follows is thirty times as long.
    text = path.read_text(encoding="utf-8")
    place = _ADDED.search(text)
    if place is None:
        return []
    return json.JSONDecoder().raw_decode(text, place.end())[0]
