"""Safetensors files, one or several to a checkpoint.

Reference: https://huggingface.co/docs/safetensors. Sharded checkpoints have an index,
`model.safetensors.index.json`, that names the file of each tensor.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._json import write_json
from gemma.gm.ckpts._lazy_array import LazyArray
from gemma.gm.ckpts._quantization_config import PackedTensor
from gemma.gm.ckpts._safetensors_file import (
    BYTES,
    FLOATS,
    IS_PICKLE,
    NAMES,
    NARROW,
    SafetensorsFile,
    StoredTensor,
)
from gemma.gm.ckpts._unfinished import make_public
from gemma.gm.kernels import (
    TILE,
    PackedKind,
    empty_aligned,
    in_slices,
)
from gemma.gm.typing import DType
from gemma.gm.weights import quantized_struct

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


class SafetensorsFolder:
    """The safetensors files of a folder, memory-mapped; a `TensorReader`."""

    def __init__(
        self,
        folder: Path,
        packed: Mapping[str, PackedTensor] = MappingProxyType({}),
    ):
        """Opens the files.

        Args:
          folder: Where they are.
          packed: Which matrices are packed, as config.json says.

        Raises:
          CheckpointError: A file is damaged or missing, or a packed tensor is.
        """
        self.folder = Path(folder)
        self._files = [SafetensorsFile(path) for path in _find_files(self.folder)]
        self._home = {name: file for file in self._files for name in file.tensors}
        self._packed = packed
        self._check_index()
        self._check_packed()

    @property
    def files(self) -> list[Path]:
        """The shards."""
        return [file.path for file in self._files]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor; of a packed one, that of what it stands for."""
        return {name: self._shape(name) for name in self._home}

    def file_of(self, name: str) -> Path:
        """Returns the shard that holds a tensor."""
        return self._home[name].path

    def dtype_of(self, name: str) -> np.dtype:
        """Returns float16 or bfloat16 for a tensor of such numbers, else float32."""
        return NARROW.get(self._stored(name).dtype, np.dtype(np.float32))

    def packed_kind(self, name: str) -> PackedKind | None:
        """Returns how a tensor is packed; None for plain numbers."""
        return self._packed[name].kind if name in self._packed else None

    def read_packed(self, name: str) -> np.ndarray:
        """Returns the bytes of a packed tensor, as they were saved."""
        out = empty_aligned(self._stored(name).shape, np.uint8)
        self._home[name].read_into(name, out, 0)
        return out

    def read(self, name: str, dtype: DType) -> np.ndarray:
        """Returns one tensor, converted to `dtype`."""
        out = empty_aligned(self._shape(name), dtype)

        def fill(begin: int, end: int) -> None:
            if name in self._packed:
                out[begin:end] = self.read_rows(name, begin, end)
            else:
                self._read_floats(name, out[begin:end], begin)

        in_slices(len(out), math.prod(out.shape[1:]), fill)
        return out

    def read_rows(self, name: str, begin: int, end: int) -> np.ndarray:
        """Returns some rows of a matrix, in the dtype of the file or in float32."""
        if name not in self._packed:
            shape = (end - begin, *self._shape(name)[1:])
            rows = np.empty(shape, FLOATS.get(self._stored(name).dtype))
            self._read_floats(name, rows, begin)
            return rows
        tensor = self._packed[name]
        first, last = begin // TILE, -(-end // TILE)
        bytes_ = np.empty((last - first, *tensor.stored_shape[1:]), np.uint8)
        self._home[name].read_into(name, bytes_, first)
        shape = (last - first) * TILE, tensor.shape[1]
        tiles = quantized_struct(tensor.kind, shape, 1).filled(bytes_)
        return np.asarray(tiles.dequantize())[begin - first * TILE : end - first * TILE]

    def _stored(self, name: str) -> StoredTensor:
        return self._home[name].tensors[name]

    def _shape(self, name: str) -> tuple[int, ...]:
        packed = self._packed.get(name)
        return self._stored(name).shape if packed is None else packed.shape

    def _read_floats(self, name: str, out: np.ndarray, begin: int) -> None:
        """Refuses numbers that are not weights as they are: scales would be missing."""
        if (found := self._stored(name).dtype) not in FLOATS:
            raise CheckpointError(
                f"Tensor {name!r} in {self.file_of(name)} is of {found}; floats of 16, "
                "32 or 64 bits can be read."
            )
        self._home[name].read_into(name, out, begin)

    def _check_index(self) -> None:
        path = self.folder / _INDEX
        if not path.exists():
            return
        for name, file in _read_index(path).items():
            if name not in self._home:
                raise CheckpointError(
                    f"{path} says that {file} holds tensor {name!r}, but it does not."
                )

    def _check_packed(self) -> None:
        """Refuses a folder that lacks what its config.json says is packed."""
        for name, tensor in self._packed.items():
            if name not in self._home:
                raise CheckpointError(
                    f"{self.folder} lacks tensor {name!r}, which its config.json "
                    "says is there."
                )
            found, shape = self._stored(name), tensor.stored_shape
            if (found.dtype, found.shape) != (BYTES, shape):
                raise CheckpointError(
                    f"Tensor {name!r} in {self.file_of(name)} is {found.dtype} "
                    f"{found.shape}; the config.json asks for {BYTES} {shape}."
                )


def _find_files(folder: Path) -> list[Path]:
    if (folder / _INDEX).exists():
        names = set(_read_index(folder / _INDEX).values())
        there = {path.name for path in folder.iterdir() if path.is_file()}
        missing = sorted(names - there)
        if missing:
            raise CheckpointError(
                f"{folder / _INDEX} names {missing[0]}, which is not in the folder "
                f"({len(missing)} of {len(names)} files are missing)."
            )
        return sorted(folder / name for name in names)
    files = [path for path in sorted(folder.glob("*.safetensors")) if path.is_file()]
    if not files:
        pickles = [p.name for kind in _PICKLES for p in sorted(folder.glob(kind))]
        why = f" {pickles[0]} {IS_PICKLE}" if pickles else ""
        raise CheckpointError(f"{folder} holds no .safetensors file.{why}")
    return files


def _read_index(path: Path) -> Mapping[str, str]:
    try:
        weight_map = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        strays = [file for file in weight_map.values() if Path(file).name != file]
    except (
        ValueError, AttributeError, KeyError, TypeError, RecursionError
    ) as error:  # fmt: skip
        raise CheckpointError(f"{path} is not a safetensors index: {error}") from None
    if strays:
        raise CheckpointError(f"{path} names {strays[0]}, which is outside its folder.")
    return weight_map


def write_safetensors(
    folder: Path, tensors: Mapping[str, LazyArray], *, max_shard_bytes: int
) -> None:
    """Writes tensors into a folder, in files of at most `max_shard_bytes` each.

    Args:
      folder: An existing folder.
      tensors: What to write, by name; memory holds one at a time.
      max_shard_bytes: A tensor larger than this gets a file of its own.
    """
    shards = _split(tensors, max_shard_bytes)
    if len(shards) == 1:
        _write(folder / _SINGLE, shards[0])
        return
    weight_map = {}
    for i, shard in enumerate(shards, 1):
        file = f"model-{i:05d}-of-{len(shards):05d}.safetensors"
        _write(folder / file, shard)
        weight_map |= dict.fromkeys(shard, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(folder / _INDEX, index)


def _split(
    tensors: Mapping[str, LazyArray], max_bytes: int
) -> list[dict[str, LazyArray]]:
    shards: list[dict[str, LazyArray]] = [{}]
    room = max_bytes
    for name, tensor in tensors.items():
        if tensor.nbytes > room and shards[-1]:
            shards.append({})
            room = max_bytes
        shards[-1][name] = tensor
        room -= tensor.nbytes
    return shards


def _write(path: Path, tensors: Mapping[str, LazyArray]) -> None:
    """Writes one file."""
    header = json.dumps(_header(tensors)).encode()
    room = -(-(8 + len(header)) // 64) * 64 - 8  # tensors begin at a multiple of 64
    with open(path, "wb") as file:
        file.write(room.to_bytes(8, "little") + header.ljust(room))
        for name, tensor in tensors.items():
            values = np.ascontiguousarray(tensor.read())
            assert (values.shape, values.dtype) == (tensor.shape, tensor.dtype), name
            file.write(values.reshape(-1).view(np.uint8).data)
    make_public(path)


def _header(tensors: Mapping[str, LazyArray]) -> dict[str, Any]:
    """Returns what stands before the tensors of a file."""
    # transformers refuses a file that does not say which framework's layout it has.
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    begin = 0
    for name, tensor in tensors.items():
        if tensor.dtype not in NAMES:
            raise ValueError(
                f"Weights of {tensor.dtype} cannot be written to a safetensors file: "
                "choose float16, bfloat16, float32 or float64."
            )
        end = begin + tensor.nbytes
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": tensor.shape,
            "data_offsets": (begin, end),
        }
        begin = end
    return header
