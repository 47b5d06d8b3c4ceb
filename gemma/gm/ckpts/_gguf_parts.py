"""The files of a GGUF model: one, or the parts that llama.cpp's gguf-split writes.

The first part has the metadata. Each states its number and how many there are, and the
others are found by its name: m-00002-of-00003.gguf.
"""

import collections
import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._gguf_header import GgufTensor, Header, read_header
from gemma.gm.ckpts._mapped_file import MappedFile
from gemma.gm.hub import part_names

# What the keys of a split hold are 16 bits.
_MAX_PARTS = 65_535
_MOST_NAMES = 3


class GgufPart:
    """One open file.

    Attributes:
      path: The file.
      file: Its bytes.
      metadata: Its keys and values.
      tensors: Its tensors by name.
    """

    path: Path
    file: MappedFile
    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]

    def __init__(self, path: Path):
        self.path = path
        self.file = MappedFile(path)
        header = read_header(self.file.data, path)
        self.metadata = header.metadata
        self.tensors = self._locate(header)
        self.file.give_back(0, header.num_bytes)

    def split_key(self, key: str) -> int | None:
        """Returns a number that the parts of a split state; None if it does not.

        Raises:
          CheckpointError: The value is no number of parts or tensors.
        """
        value = self.metadata.get(f"split.{key}")
        if value is not None and (type(value) is not int or value < 0):
            raise CheckpointError(f"{self.path} is damaged: split.{key} is {value!r}.")
        return value

    def _locate(self, header: Header) -> dict[str, GgufTensor]:
        """Turns offsets into the data section into offsets into the file."""
        alignment = self.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise CheckpointError(f"{self.path}: general.alignment is {alignment!r}.")
        begin = -(-header.num_bytes // alignment) * alignment
        tensors = {}
        for name, tensor in header.tensors.items():
            moved = dataclasses.replace(tensor, offset=begin + tensor.offset)
            end = moved.offset + math.prod(moved.packed_shape)
            if end > len(self.file):
                raise CheckpointError(
                    f"{self.path} is truncated: tensor {name!r} ends at byte {end:,} "
                    f"but the file has {len(self.file):,}. Download it again."
                )
            tensors[name] = moved
        self._check_apart(tensors)
        return tensors

    def _check_apart(self, tensors: Mapping[str, GgufTensor]) -> None:
        """Refuses tensors that share bytes: a small file would fill the memory."""
        places = sorted((tensor.offset, name) for name, tensor in tensors.items())
        for (begin, name), (following, other) in itertools.pairwise(places):
            if begin + math.prod(tensors[name].packed_shape) > following:
                raise CheckpointError(
                    f"{self.path} is damaged: tensors {name!r} and {other!r} overlap."
                )


def open_parts(path: Path) -> list[GgufPart]:
    """Opens a file and, if it is one part of a model, all others.

    Args:
      path: The file, or any of the parts.

    Returns:
      The parts in their order.

    Raises:
      CheckpointError: A file is damaged, or a part is missing or another model's.
    """
    named = GgufPart(path)
    count, number = named.split_key("count") or 1, named.split_key("no")
    if count == 1:
        return [named]
    if number is None or not number < count <= _MAX_PARTS:
        raise CheckpointError(
            f"{path} is damaged: split.count is {count} and split.no, which counts from "
            f"0, is {number}."
        )
    paths = _paths(path, number, count)
    parts = [named if i == number else GgufPart(p) for i, p in enumerate(paths)]
    _check_together(parts)
    return parts


def _paths(path: Path, number: int, count: int) -> list[Path]:
    """Returns where all parts are, of which `path` is one; they exist."""
    names = part_names(path.name)
    if len(names) != count or names[number] != path.name:
        raise CheckpointError(
            f"{path} is part {number + 1} of {count} of a model. Its name must end in "
            f"-{number + 1:05d}-of-{count:05d}.gguf, as it was published: the other "
            "parts are found by it."
        )
    missing = [name for name in names if not path.with_name(name).is_file()]
    if missing:
        more = f" and {len(missing) - _MOST_NAMES:,} more"
        words = ", ".join(missing[:_MOST_NAMES])
        raise CheckpointError(
            f"{path.parent} lacks {words}{more if len(missing) > _MOST_NAMES else ''}: "
            f"{path.name} is one of {count} parts of a model, and all are needed."
        )
    return [path.with_name(name) for name in names]


def _check_together(parts: Sequence[GgufPart]) -> None:
    """Refuses parts that are not those of one model."""
    for i, part in enumerate(parts):
        number, count = part.split_key("no"), part.split_key("count")
        if (number, count) != (i, len(parts)):
            raise CheckpointError(
                f"{part.path} does not state that it is part {i + 1} of {len(parts)}: "
                f"split.no is {number}, counted from 0, split.count {count}."
            )
    count = collections.Counter(name for part in parts for name in part.tensors)
    for name, times in count.items():
        if times > 1:
            raise CheckpointError(f"Two parts of {parts[0].path} hold tensor {name!r}.")
    stated = parts[0].split_key("tensors.count")
    if stated is not None and stated != len(count):
        raise CheckpointError(
            f"The {len(parts)} parts of {parts[0].path} hold {len(count):,} tensors and "
            f"state {stated:,}: they are not of one model."
        )
