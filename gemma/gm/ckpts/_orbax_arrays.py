"""Arrays in a directory of Orbax, one at a time: all that is said to its libraries.

Orbax keeps a Zarr array for each leaf of a tree, named by the keys that lead to it with
dots between them: each in a folder of its own, or all in one OCDBT database. Zarr of
version 2 and 3 is read. DeepMind's first files have keys with slashes in them
("transformer/layer_0/attn/q_einsum" and "w"); here both are slashes, so that one name
serves all.
"""

import contextlib
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._lazy_array import LazyArray
from gemma.gm.kernels import empty_aligned
from gemma.gm.weights import unflatten

_MISSING = (
    "The package orbax-checkpoint is missing, which DeepMind's checkpoints need."
    " pip install 'gemma-jax[orbax]'"
)
try:
    import tensorstore as ts
except ImportError as error:
    raise ImportError(_MISSING) from error

# What each version of Zarr calls the file that describes an array.
_DRIVERS = {".zarray": "zarr", "zarr.json": "zarr3"}
# Readers unpack whole chunks beside the array that they fill.
_CHUNK_BYTES = 1 << 22
# Such a file takes some hundred bytes.
_MAX_DESCRIPTION_BYTES = 1 << 16


class _Stored(NamedTuple):
    """Where an array lies."""

    key: str
    description: str  # the name of the file beside it

    @property
    def driver(self) -> str:
        """What tensorstore calls the format."""
        return _DRIVERS[self.description]


class StoredArrays:
    """The arrays of a directory. None is touched before it is asked for."""

    def __init__(self, folder: Path):
        """Lists the arrays.

        Raises:
          CheckpointError: The directory is damaged or has none.
        """
        self.folder = folder.resolve()
        self._is_whole = _states_whole_arrays(folder)
        self._opened: dict[str, ts.TensorStore] = {}
        self._stored = self._list()
        if not self._stored:
            raise CheckpointError(
                f"{folder} is no whole Orbax checkpoint: it holds no array."
            )

    @property
    def names(self) -> list[str]:
        """The names of all, with slashes."""
        return list(self._stored)

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of an array."""
        return tuple(self._open(name).shape)

    def dtype(self, name: str) -> np.dtype:
        """Returns the dtype of an array."""
        return self._open(name).dtype.numpy_dtype

    def read(self, name: str) -> np.ndarray:
        """Returns an array as it is stored."""
        store = self._open(name)
        out = empty_aligned(tuple(store.shape), store.dtype.numpy_dtype)
        with self._naming(f"Array {name!r} in {self.folder} cannot be read"):
            ts.array(out).write(store).result()
        return out

    def _list(self) -> dict[str, _Stored]:
        stored = {}
        with self._naming(f"{self.folder} is damaged"):
            self._files = ts.KvStore.open(self._kvstore("")).result()
            for path in self._files.list().result():
                key, _, file = path.decode().rpartition("/")
                if file in _DRIVERS:
                    stored[key.replace(".", "/")] = _Stored(key, file)
        return dict(sorted(stored.items()))

    def _open(self, name: str) -> ts.TensorStore:
        if name not in self._opened:
            self._opened[name] = self._open_anew(name)
        return self._opened[name]

    def _open_anew(self, name: str) -> ts.TensorStore:
        stored = self._stored[name]
        spec = {
            "driver": stored.driver,
            "kvstore": self._kvstore(f"{stored.key}/"),
            # Else a file that was deleted would read as zeros.
            "fill_missing_data_reads": not self._is_whole,
        }
        what = f"Array {name!r} in {self.folder}"
        with self._naming(f"{what} cannot be opened"):
            self._check_description(stored)
            store = ts.open(spec, open=True, read=True).result()
            _check_chunks(store)
            return store

    def _check_description(self, stored: _Stored) -> None:
        """Refuses one of absurd length: nested deeply, it would end the process."""
        found = self._files.read(f"{stored.key}/{stored.description}").result().value
        if len(found) > _MAX_DESCRIPTION_BYTES:
            raise ValueError(f"{stored.description} has {len(found):,} bytes")

    def _kvstore(self, path: str) -> dict[str, Any]:
        folder = f"{self.folder}/"
        if not (self.folder / "manifest.ocdbt").exists():
            return {"driver": "file", "path": folder + path}
        base = {"driver": "file", "path": folder}
        return {"driver": "ocdbt", "base": base, "path": path}

    @contextlib.contextmanager
    def _naming(self, what: str) -> Iterator[None]:
        """Says of an error of tensorstore what it is about."""
        try:
            yield
        except (ValueError, OSError) as error:
            raise CheckpointError(f"{what}: {_first_line(error)}") from None


def _check_chunks(store: ts.TensorStore) -> None:
    """Refuses chunks larger than their array.

    Tensorstore makes room for a whole one, and ends the process if there is none.
    """
    chunk = store.chunk_layout.write_chunk.shape or ()
    for chunk_len, length in zip(chunk, store.shape, strict=False):
        if chunk_len is not None and chunk_len > length:
            raise ValueError(f"shape is {store.shape}, but that of chunks is {chunk}")


def _states_whole_arrays(folder: Path) -> bool:
    """Returns whether the directory says that arrays of zeros are written out.

    Older versions of Orbax leave out what is all zeros, and do not say so.
    """
    path = folder / "_METADATA"
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        return bool(stated.get("store_array_data_equal_to_fill_value", False))
    except FileNotFoundError:
        return False
    except (ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None


def _first_line(error: Exception) -> str:
    """Returns the message without the places in tensorstore's source."""
    return str(error).partition("\n")[0].partition(" [source locations")[0]


class _Leaf:
    """A leaf of Orbax's tree: to JAX, a `LazyArray` would be a tree itself."""

    def __init__(self, array: LazyArray):
        self.shape, self.dtype, self.read = array
        # Orbax 0.11 asks how large an array is before it writes.
        self.size, self.nbytes = math.prod(self.shape), array.nbytes


def write_arrays(folder: Path, arrays: Mapping[str, LazyArray]) -> None:
    """Writes a tree of arrays into a new directory.

    Memory holds one of them at a time, and the copy that Orbax makes of it.

    Args:
      folder: The directory, which must not exist.
      arrays: What to write, by names with a slash between the keys.
    """
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise ImportError(_MISSING) from error

    class OneByOne(ocp.type_handlers.NumpyHandler):
        async def serialize(self, values, infos, args=None):
            # The values are our leaves, and not arrays yet.
            leaves = cast(Sequence[_Leaf], values)
            for leaf, info, arg in zip(leaves, infos, args or [], strict=True):
                for future in await super().serialize([leaf.read()], [info], [arg]):
                    future.result()
            return []

    registry = ocp.type_handlers.create_type_handler_registry((_Leaf, OneByOne()))
    tree = unflatten({name: _Leaf(array) for name, array in arrays.items()})
    how = ocp.SaveArgs(chunk_byte_size=_CHUNK_BYTES)
    chunks = unflatten(dict.fromkeys(arrays, how))
    # It warns that our tree has no arrays of a device, and logs what it also raises.
    with _silenced("absl"):
        writer = ocp.Checkpointer(
            ocp.PyTreeCheckpointHandler(type_handler_registry=registry)
        )
        with contextlib.closing(writer):
            writer.save(folder.absolute(), tree, save_args=chunks)


@contextlib.contextmanager
def _silenced(name: str) -> Iterator[None]:
    """Keeps a logger from saying anything."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
