"""A model becomes a GGUF file, which this library and llama.cpp read."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple, Protocol, get_args

import gguf
import numpy as np

from gemma.gm.ckpts._gguf_metadata import (
    Vocabulary,
    config_metadata,
    tokenizer_metadata,
    vision_metadata,
)
from gemma.gm.ckpts._gguf_tensors import (
    GgufType,
    TensorToWrite,
    plan_eyes,
    plan_tensors,
)
from gemma.gm.ckpts._unfinished import refuse_existing, whole_file
from gemma.gm.nn import Transformer
from gemma.gm.typing import Progress

# `general.file_type`, as llama.cpp numbers what most matrices are.
_FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7, "BF16": 32}
_BLOCK_VERSION = 2
_ALIGNMENT = 32


class HasVocabulary(Protocol):
    """A tokenizer, as far as a file needs it."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Its pieces."""
        ...


def save_gguf(
    path: Path | str,
    model: Transformer,
    read: Callable[[str], np.ndarray],
    *,
    type: GgufType = "F32",
    tokenizer: HasVocabulary,
    chat_template: str | None = None,
    metadata: Mapping[str, Any] = MappingProxyType({}),
    progress: Progress | None = None,
) -> None:
    """Writes a GGUF file, which `load_model` and llama.cpp can read.

    The file appears under its name once it is whole. The eyes of a model go into a
    second one beside it, `mmproj-<name>`. Memory holds one weight at a time.

    Vectors, such as norms, are float32 whatever the type, and what stands before and
    behind the layers of the eyes. A matrix whose rows are no multiple of 32 becomes F16
    where it should be Q8_0 or Q4_0. The embedding, which is the head too, becomes Q8_0
    where others are Q4_0.

    Args:
      path: The file to make; its name ends in .gguf. It must not exist.
      model: The model.
      read: Returns one weight by our name, in our layout, such as
        `Checkpoint.read_weight`.
      type: What matrices become.
      tokenizer: The tokenizer of the model.
      chat_template: The template of conversations, in Jinja.
      metadata: More keys and values, such as `general.name`.
      progress: Called with the bytes of tensors written so far and in all.

    Raises:
      FileExistsError: There is something at the path.
      ValueError: GGUF files cannot describe such a model, or the tokenizer is that of
        another.

    Example:
      ```python
      checkpoint = gm.ckpts.open_checkpoint("gemma-3-1b-it")
      gm.ckpts.save_gguf(
          "gemma-3-1b-it.gguf",
          checkpoint.model,
          lambda name: checkpoint.read_weight(name, "float32"),
          type="Q8_0",
          tokenizer=gm.text.Tokenizer.from_path("gemma-3-1b-it"),
      )
      ```
    """
    path = Path(path)
    _check(path, type)
    refuse_existing(path)
    config = model.config
    metadata = _metadata(path, model, type, tokenizer, chat_template, metadata)
    files = [_File(path, metadata, plan_tensors(model, type))]
    if config.vision is not None:
        eyes = _eyes_path(path)
        metadata = vision_metadata(config) | _general(eyes, "mmproj", type)
        files.append(_File(eyes, metadata, plan_eyes(model, type)))
    count = _counter(progress, sum(t.num_bytes for f in files for t in f.tensors))
    with contextlib.ExitStack() as unfinished:
        # Left in reverse: the model gets its name last, when its eyes have theirs.
        for file in files:
            place = unfinished.enter_context(whole_file(file.path))
            _write(place, file, read, count)


class _File(NamedTuple):
    """A file to write."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Sequence[TensorToWrite]


def _check(path: Path, type: str) -> None:
    """Refuses types that cannot be written, and names that readers pass over."""
    if type not in get_args(GgufType):
        raise ValueError(
            f"GGUF files cannot be written as {type!r}; choose one of "
            f"{', '.join(get_args(GgufType))}."
        )
    if path.suffix != ".gguf" or "mmproj" in path.name.lower():
        raise ValueError(
            f"{path} is no name for a model: one that ends in .gguf, without 'mmproj' "
            "in it, is needed."
        )


def _eyes_path(path: Path) -> Path:
    """Returns where the eyes of a model go; readers take the first such file."""
    others = [p for p in path.parent.glob("*.gguf") if "mmproj" in p.name.lower()]
    if others:
        raise FileExistsError(
            f"{others[0]} exists, and programs would take it for the eyes of {path}. "
            "Choose another folder, or leave the eyes out."
        )
    return path.with_name(f"mmproj-{path.name}")


def _metadata(
    path: Path,
    model: Transformer,
    type: GgufType,
    tokenizer: HasVocabulary,
    chat_template: str | None,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    config = model.config
    metadata = config_metadata(config) | _general(path, "model", type) | dict(more)
    metadata |= tokenizer_metadata(tokenizer.vocabulary, config.vocab_size)
    if chat_template is not None:
        metadata["tokenizer.chat_template"] = chat_template
    return metadata


def _general(path: Path, kind: str, type: GgufType) -> dict[str, Any]:
    return {
        "general.type": kind,
        "general.name": path.stem,
        "general.file_type": _FILE_TYPES[type],
        "general.quantization_version": _BLOCK_VERSION,
    }


def _counter(progress: Progress | None, total: int) -> Callable[[int], None]:
    """Returns a function that reports the bytes of one more tensor."""
    done = 0

    def count(num_bytes: int) -> None:
        nonlocal done
        done += num_bytes
        if progress is not None:
            progress(done, total)

    return count


def _write(
    place: Path,
    file: _File,
    read: Callable[[str], np.ndarray],
    count: Callable[[int], None],
) -> None:
    """Writes one file to a place."""
    _write_header(place, file.metadata, file.tensors)
    with place.open("ab") as out:
        _pad(out)
        for tensor in file.tensors:
            for part in tensor.encoded(read(tensor.ours)):
                # Not numpy's `tofile`, which does not say that a disk is full.
                out.write(part.data)
            _pad(out)
            count(tensor.num_bytes)


def _write_header(
    path: Path, metadata: Mapping[str, Any], tensors: Sequence[TensorToWrite]
) -> None:
    writer = gguf.GGUFWriter(path, metadata["general.architecture"])
    for key, value in metadata.items():
        if key != "general.architecture":  # which the writer has put first
            writer.add_key_value(key, value, _kind_of(value))
    for tensor in tensors:
        writer.add_tensor_info(
            tensor.entry.name,
            tensor.shape,
            np.dtype(np.float32),
            tensor.num_bytes,
            gguf.GGMLQuantizationType(tensor.type),
        )
    with contextlib.closing(writer):
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()


def _kind_of(value: object) -> gguf.GGUFValueType:
    kinds = {
        bool: gguf.GGUFValueType.BOOL,
        int: gguf.GGUFValueType.UINT32,
        float: gguf.GGUFValueType.FLOAT32,
        str: gguf.GGUFValueType.STRING,
        list: gguf.GGUFValueType.ARRAY,
    }
    return kinds[value.__class__]


def _pad(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % _ALIGNMENT))
