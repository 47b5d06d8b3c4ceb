"""What goes from one checkpoint of a model to the next, beside the weights."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gemma.gm.ckpts._generation_defaults import (
    SAMPLING_KEYS,
    read_generation_defaults,
)
from gemma.gm.ckpts._gguf import find_gguf, read_gguf_metadata
from gemma.gm.ckpts._gguf_vocabulary import GgufVocabulary, gguf_vocabulary
from gemma.gm.ckpts._json import json_bytes, read_json_object
from gemma.gm.ckpts._tokenizer_json import tokenizer_json
from gemma.gm.nn import Classifier, Transformer

_FILES = (
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
_FILES_OF_EYES = ("preprocessor_config.json", "processor_config.json")
_TOKENIZERS = _FILES[:2]
_OF_LABELS = ("id2label", "label2id", "problem_type")
_END_OF_TURN = "<end_of_turn>"


def copy_belongings(model: Transformer, folder: Path) -> None:
    """Writes tokenizer, chat template and settings, if the model came from disk.

    They are copied from a folder. What the metadata of a GGUF file states becomes files.
    """
    source = model.checkpoint
    if source is None or not source.exists():
        return
    if (gguf := find_gguf(source)) is not None:
        for name, content in _files_of_gguf(read_gguf_metadata(gguf), gguf).items():
            (folder / name).write_bytes(content)
    if not source.is_dir():
        return
    # DeepMind's archives have the tokenizer beside the directory of the weights.
    for name in _TOKENIZERS:
        if (source / "_METADATA").exists() and (source.parent / name).exists():
            shutil.copy(source.parent / name, folder / name)
    eyes = () if model.config.vision is None else _FILES_OF_EYES
    for name in (*_FILES, *eyes):
        if (source / name).exists():
            shutil.copy(source / name, folder / name)


def stated_labels(classifier: Classifier) -> dict[str, Any]:
    """Returns what config.json says of labels, where a classifier came from a folder.

    Nothing if it has another number of labels there.
    """
    source = classifier.model.checkpoint
    if source is None or not (source / "config.json").is_file():
        return {}
    stated = read_json_object(source / "config.json")
    if len(stated.get("id2label") or ()) != classifier.num_labels:
        return {}
    return {name: stated[name] for name in _OF_LABELS if name in stated}


def _files_of_gguf(stated: Mapping[str, Any], where: Path) -> dict[str, bytes]:
    """Returns what metadata states and a folder has as files of their own, by name."""
    files: dict[str, bytes] = {}
    if template := stated.get("tokenizer.chat_template"):
        files["chat_template.jinja"] = template.encode()
    vocabulary = gguf_vocabulary(stated)
    if vocabulary is not None:
        files["tokenizer.json"] = tokenizer_json(vocabulary)
        files["tokenizer_config.json"] = json_bytes(_tokenizer_config(vocabulary))
        settings = _generation_config(stated, vocabulary, where)
        files["generation_config.json"] = json_bytes(settings)
    return files


def _tokenizer_config(vocabulary: GgufVocabulary) -> dict[str, Any]:
    """Returns what tokenizer_config.json says; without it transformers add no <bos>."""
    ids = {"bos": vocabulary.bos_id, "eos": vocabulary.eos_id}
    ids |= {"pad": vocabulary.pad_id, "unk": vocabulary.unk_id}
    tokens = {f"{name}_token": vocabulary.pieces[i] for name, i in ids.items()}
    added = {"add_bos_token": True, "add_eos_token": False}
    return {"tokenizer_class": "GemmaTokenizer", **added, **tokens}


def _generation_config(
    stated: Mapping[str, Any], vocabulary: GgufVocabulary, where: Path
) -> dict[str, Any]:
    """Returns what generation_config.json says: where answers end, how to draw."""
    defaults = read_generation_defaults(where, stated)
    ends = {vocabulary.eos_id, *defaults.stop_ids}
    if _END_OF_TURN in vocabulary.pieces:
        ends.add(vocabulary.pieces.index(_END_OF_TURN))
    drawn = {
        name: stated[f"general.sampling.{key}"]
        for name, key in SAMPLING_KEYS.items()
        if f"general.sampling.{key}" in stated
    }
    return {
        "bos_token_id": vocabulary.bos_id,
        "eos_token_id": sorted(ends),
        "pad_token_id": vocabulary.pad_id,
        **({"do_sample": True} if drawn else {}),
        **drawn,
    }
