"""Safetensors files, one or several to a checkpoint.

Reference: https://huggingface.co/docs/safetensors. Sharded checkpoints have an index,
`model.safetensors.index.json`, that names the file of each tensor.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._json import write_json
from gemma.gm.ckpts._lazy_array import LazyArray
from gemma.gm.ckpts._quantization_config import PackedTensor
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
# As the files call them.
_NARROW = {"F16": np.dtype(np.float16), "BF16": np.dtype(ml_dtypes.bfloat16)}
_FLOATS = {**_NARROW, "F32": np.dtype(np.float32), "F64": np.dtype(np.float64)}
_NAMES = {dtype: name for name, dtype in _FLOATS.items()} | {np.dtype(np.uint8): "U8"}

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_IS_PICKLE = (
    "is a pickle, which can run code when it is opened and is not read: take the "
    "model's .safetensors files, or convert it to safetensors where that is safe."
)


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
        self._files = {path: _open(path) for path in _find_files(self.folder)}
        self._home = {n: p for p, file in self._files.items() for n in file.keys()}  # noqa: SIM118
        self._packed = packed
        _check_index(self.folder / _INDEX, self._home)
        self._check_packed()

    @property
    def files(self) -> list[Path]:
        """The shards."""
        return list(self._files)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor; of a packed one, that of what it stands for."""
        stored = {name: tuple(self._slice(name).get_shape()) for name in self._home}
        return stored | {name: tensor.shape for name, tensor in self._packed.items()}

    def file_of(self, name: str) -> Path:
        """Returns the shard that holds a tensor."""
        return self._home[name]

    def dtype_of(self, name: str) -> np.dtype:
        """Returns float16 or bfloat16 for a tensor of such numbers, else float32."""
        stored = self._files[self._home[name]].get_slice(name).get_dtype()
        return _NARROW.get(stored, np.dtype(np.float32))

    def packed_kind(self, name: str) -> PackedKind | None:
        """Returns how a tensor is packed; None for plain numbers."""
        return self._packed[name].kind if name in self._packed else None

    def read_packed(self, name: str) -> np.ndarray:
        """Returns the bytes of a packed tensor, as they were saved."""
        return self._files[self._home[name]].get_tensor(name)

    def read(self, name: str, dtype: DType) -> np.ndarray:
        """Returns one tensor, converted to `dtype`."""
        if name not in self._packed:
            self._require_floats(name)
            file = self._files[self._home[name]]
            return file.get_tensor(name).astype(dtype, copy=False)
        out = empty_aligned(self._packed[name].shape, dtype)

        def fill(begin: int, end: int) -> None:
            out[begin:end] = self.read_rows(name, begin, end)

        in_slices(len(out), out.shape[1], fill)
        return out

    def read_rows(self, name: str, begin: int, end: int) -> np.ndarray:
        """Returns some rows of a matrix, in the dtype of the file or in float32."""
        if name not in self._packed:
            self._require_floats(name)
            return self._slice(name)[begin:end]
        tensor = self._packed[name]
        first, last = begin // TILE, -(-end // TILE)
        shape = (last - first) * TILE, tensor.shape[1]
        tiles = quantized_struct(tensor.kind, shape, 1).filled(
            self._slice(name)[first:last]
        )
        rows = slice(begin - first * TILE, end - first * TILE)
        return np.asarray(tiles.dequantize())[rows]

    def _slice(self, name: str):
        return self._files[self._home[name]].get_slice(name)

    def _require_floats(self, name: str) -> None:
        """Refuses numbers that are not weights as they are: scales would be missing."""
        if (found := self._slice(name).get_dtype()) not in _FLOATS:
            raise CheckpointError(
                f"Tensor {name!r} in {self._home[name]} is of {found}; floats of 16, 32 "
                "or 64 bits can be read."
            )

    def _check_packed(self) -> None:
        """Refuses a folder that lacks what its config.json says is packed."""
        for name, tensor in self._packed.items():
            if name not in self._home:
                raise CheckpointError(
                    f"{self.folder} lacks tensor {name!r}, which its config.json "
                    "says is there."
                )
            found, shape = self._slice(name), tensor.stored_shape
            if (found.get_dtype(), tuple(found.get_shape())) != ("U8", shape):
                raise CheckpointError(
                    f"Tensor {name!r} in {self._home[name]} is "
                    f"{found.get_dtype()} {tuple(found.get_shape())}; the "
                    f"config.json asks for U8 {shape}."
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
        why = f" {pickles[0]} {_IS_PICKLE}" if pickles else ""
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


def _check_index(path: Path, home: Mapping[str, Path]) -> None:
    if not path.exists():
        return
    for name, file in _read_index(path).items():
        if name not in home:
            raise CheckpointError(
                f"{path} says that {file} holds tensor {name!r}, but it does not."
            )


def _open(path: Path):
    try:
        return safe_open(path, framework="np")
    except SafetensorError as error:
        if _is_pickle(path):
            raise CheckpointError(f"{path} {_IS_PICKLE}") from None
        raise CheckpointError(
            f"{path} is truncated or not a safetensors file: {error}"
        ) from None


def _is_pickle(path: Path) -> bool:
    """Whether a file that is no safetensors file begins as pickles do, zipped or not."""
    with open(path, "rb") as file:
        begin = file.read(8)
    # The length of a header may begin with the same two bytes, but no pickle begins
    # with the length of a header that the file has room for.
    is_bare = begin[:1] == b"\x80" and begin[1:2] <= b"\x05"
    is_length = int.from_bytes(begin, "little") <= path.stat().st_size
    return begin.startswith(b"PK\x03\x04") or (is_bare and not is_length)


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
        if tensor.dtype not in _NAMES:
            raise ValueError(
                f"Weights of {tensor.dtype} cannot be written to a safetensors file: "
                "choose float16, bfloat16, float32 or float64."
            )
        end = begin + tensor.nbytes
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": tensor.shape,
            "data_offsets": (begin, end),
        }
        begin = end
    return header
