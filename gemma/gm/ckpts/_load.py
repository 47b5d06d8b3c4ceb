"""A checkpoint on disk becomes a model and its params."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gemma.gm import kernels, peft
from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._foreign import refuse_foreign
from gemma.gm.ckpts._gguf import EMBEDDING, GgufFile, find_gguf, find_mmproj
from gemma.gm.ckpts._heads import is_untied, refuse_untied_head
from gemma.gm.ckpts._joined_tensors import JoinedTensors
from gemma.gm.ckpts._json import read_json_object
from gemma.gm.ckpts._names import Entry, Layout
from gemma.gm.ckpts._names_gguf import config_from_metadata, names_gguf
from gemma.gm.ckpts._names_huggingface import (
    config_from_json,
    is_extra,
    names_huggingface,
)
from gemma.gm.ckpts._names_vision import (
    holds_vision,
    vision_from_metadata,
    vision_names_gguf,
)
from gemma.gm.ckpts._orbax import OrbaxTensors, find_orbax
from gemma.gm.ckpts._origins import remember_origin
from gemma.gm.ckpts._quantization_config import packed_from_json
from gemma.gm.ckpts._safetensors import SafetensorsFolder
from gemma.gm.ckpts._tensors import TensorReader
from gemma.gm.nn import Transformer, TransformerConfig
from gemma.gm.typing import DType, Params, Progress
from gemma.gm.weights import (
    ParamSpec,
    QuantizedArray,
    flatten,
    quantized_struct,
    unflatten,
)

# Instead of a dtype: in memory as in the file, packed or of 16 bits.
AS_STORED = "as-stored"
# So many bytes of weights go to the device together.
_PUT_BYTES = 1 << 28


@dataclasses.dataclass(frozen=True, slots=True)
class Checkpoint:
    """An open checkpoint: what it says of itself, before any weight is read.

    Attributes:
      path: The folder or file.
      config: The model that it holds.
      tensors: Its tensors by their names in the file.
      names: Where each of our weights is among them.
    """

    path: Path
    config: TransformerConfig
    tensors: TensorReader
    names: Mapping[str, Entry]

    @property
    def model(self) -> Transformer:
        """The model, which remembers this checkpoint."""
        return Transformer(self.config, checkpoint=self.path)

    @property
    def num_labels(self) -> int | None:
        """How many labels a classifier's checkpoint has scores of; None of others."""
        shape = self.tensors.shapes.get("score.weight")
        return None if shape is None else shape[0]

    def read_params(
        self,
        *,
        dtype: DType | None = None,
        sharding: Any = None,
        progress: Progress | None = None,
    ) -> Params:
        """Returns the weights.

        Memory of the host holds no more of them than what waits for its device.

        Args:
          dtype: Their dtype; or "int8", "int4" or "nf4" to quantize them while they are
            read, see `gm.peft.quantize`; or "as-stored" for weights that stay in memory
            what they are in the file: packed where kernels can hold them, of 16 bits, or
            float32 where neither. Norms of packed and stored weights are float32. By
            default "as-stored" on a CPU with kernels, else float32 on CPU and bfloat16
            elsewhere.
          sharding: Where to put them: a device or a `jax.sharding.Sharding` for all, or
            a tree of them, which may end above the weights: `{"embedder": a, "layer_0":
            {"attn": b, ...}, ...}`. By default on JAX's first device.
          progress: Called with the bytes of weights made so far and in all.

        Raises:
          CheckpointError: A tensor is missing, unknown or of the wrong shape.
          ValueError: Weights cannot be held as `dtype`.
        """
        self.check()
        structs = flatten(self.param_structs(dtype))
        total = sum(_num_bytes(struct) for struct in structs.values())
        params, waiting, put, done = {}, {}, 0, 0
        # In the order of the names: several of ours may lie in one array of the file.
        place = {ours: i for i, ours in enumerate(self.names)}
        for ours in sorted(structs, key=place.__getitem__):
            struct = structs[ours]
            waiting[ours] = _read_weight(self.tensors, self.names[ours], struct)
            done += _num_bytes(struct)
            if done - put >= _PUT_BYTES or done == total:
                # Together: JAX takes a tenth of a millisecond for each call.
                params |= jax.device_put(waiting, _each(sharding, waiting))
                waiting, put = {}, done
            if progress is not None:
                progress(done, total)
        tree = unflatten({ours: params[ours] for ours in structs})
        remember_origin(tree, self.path)
        return tree

    def read_weight(self, ours: str, dtype: DType) -> np.ndarray:
        """Returns one weight, unpacked, in memory of the host.

        Args:
          ours: Our name of it, such as "layer_0/attn/q".
          dtype: A float dtype.
        """
        shape = flatten(self.model.specs())[ours].shape
        struct = jax.ShapeDtypeStruct(shape, dtype)
        weight = _read_weight(self.tensors, self.names[ours], struct)
        assert isinstance(weight, np.ndarray)
        return weight

    def read_rows(self, ours: str, dtype: DType, rows: range) -> np.ndarray:
        """Returns some rows of a matrix of the decoder: all outputs, all inputs.

        Args:
          ours: Our name of it.
          dtype: A float dtype.
          rows: Which; all axes of outputs are one here.
        """
        found = self.tensors.read_rows(self.names[ours].name, rows.start, rows.stop)
        return found.astype(dtype, copy=False).reshape(len(rows), -1)

    def check(self) -> None:
        """Raises CheckpointError if the tensors are not exactly those of the config."""
        _check(self, flatten(self.model.specs()))
        if not self.config.has_head:
            table = self.names["embedder/input_embedding"].name
            refuse_untied_head(self.tensors, table)

    def param_structs(self, dtype: DType | None = None) -> Params:
        """Returns what `read_params` would, as shapes; raises CheckpointError as it."""
        _check(self, flatten(self.model.specs()))
        if dtype is None:
            dtype = default_dtype()
        plain = _plain_dtype(dtype)
        structs = {}
        for ours, spec in flatten(self.model.specs()).items():
            structs[ours] = self._packed_struct(ours, spec, dtype)
            if structs[ours] is None:
                # What the methods of peft leave alone is held as it is stored.
                is_kept = isinstance(dtype, str) and dtype in (AS_STORED, *peft.KINDS)
                kept = self._stored_dtype(ours, spec) if is_kept else plain
                structs[ours] = jax.ShapeDtypeStruct(spec.shape, kept)
        return unflatten(structs)

    def _stored_dtype(self, ours: str, spec: ParamSpec) -> DType:
        """Returns the dtype of a weight in the file; norms are applied in float32."""
        is_norm = len(spec.shape) == 1
        return jnp.float32 if is_norm else self.tensors.dtype_of(self.names[ours].name)

    def _packed_struct(
        self, ours: str, spec: ParamSpec, dtype: DType
    ) -> QuantizedArray | None:
        """Returns what a weight is as packed; None if it is a plain array."""
        if not isinstance(dtype, str) or len(spec.shape) == 1:
            return None
        if dtype in peft.KINDS:
            return peft.quantized_weight_struct(ours, spec.shape, dtype)
        entry = self.names[ours]
        # Blocks are runs of inputs: a matrix that lies the other way becomes floats.
        is_kept = dtype == AS_STORED and entry.layout is Layout.MATRIX
        kind = self.tensors.packed_kind(entry.name) if is_kept else None
        return kind and quantized_struct(kind, spec.shape, entry.num_out_axes)


def open_checkpoint(
    path: Path | str | GgufFile, *, text_only: bool = False
) -> Checkpoint:
    """Opens a Hugging Face folder, a GGUF file or a directory of Orbax.

    Args:
      path: A folder with config.json and .safetensors files, a folder with one .gguf
        file, or a .gguf file, which may already be open; of a split one any part. The
        vision encoder of a GGUF model is in the file itself, or looked for beside it in an
        mmproj file. Or one of DeepMind's checkpoints: a directory that Orbax wrote, or
        the state of a training with it in `default/`.
      text_only: Leave the vision encoder of a model out.

    Raises:
      CheckpointError: What it holds is not a Gemma checkpoint that can be read.
      FileNotFoundError: There is nothing at the path.
    """
    if isinstance(path, GgufFile):
        return _open_gguf(path, text_only)
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no checkpoint at {path}.")
    if gguf := find_gguf(path):
        return _open_gguf(GgufFile(gguf), text_only)
    if arrays := find_orbax(path):
        tensors = OrbaxTensors(arrays, text_only=text_only)
        return Checkpoint(path, tensors.config, tensors, tensors.names)
    folder = path.parent if path.suffix == ".safetensors" else path
    if (folder / "config.json").exists():
        return _open_huggingface(folder, text_only)
    refuse_foreign(path, None)
    if path.is_file():
        raise CheckpointError(
            f"{path} is not a checkpoint: a .gguf file or a folder with config.json and "
            ".safetensors files is needed."
        )
    count = len(list(path.glob("*.gguf")))
    found = f"{count} .gguf files: name one" if count else "no .gguf file"
    raise CheckpointError(
        f"{path} is not a checkpoint: it has no config.json and {found}."
    )


def _open_gguf(file: GgufFile, text_only: bool) -> Checkpoint:
    config = config_from_metadata(file.metadata, file.path)
    # Of Ollama's files the tokenizer has fewer or more tokens.
    if table := file.shapes.get(EMBEDDING):
        config = dataclasses.replace(config, vocab_size=table[0])
    config = dataclasses.replace(config, has_head=is_untied(file, EMBEDDING))
    names, tensors = names_gguf(config), file
    encoder = None if text_only or config.family != "gemma3" else _vision_file(file)
    if encoder is not None:
        vision = vision_from_metadata(encoder.metadata, encoder.path)
        config = dataclasses.replace(config, vision=vision)
        names |= vision_names_gguf(vision, encoder.shapes)
        tensors = file if encoder is file else JoinedTensors(file, encoder)
    return Checkpoint(file.path, config, tensors, names)


def _vision_file(file: GgufFile) -> GgufFile | None:
    """Returns the file with the vision encoder: itself, as of Ollama, or an mmproj."""
    if holds_vision(file.shapes):
        return file
    found = find_mmproj(file.path)
    return None if found is None else GgufFile(found)


def _open_huggingface(path: Path, text_only: bool) -> Checkpoint:
    stated = read_json_object(path / "config.json")
    refuse_foreign(path, stated)
    config = config_from_json(stated, path / "config.json")
    if text_only:
        config = dataclasses.replace(config, vision=None)
    files = SafetensorsFolder(path, packed_from_json(stated, path / "config.json"))
    names = names_huggingface(config, files.shapes)
    table = names["embedder/input_embedding"].name
    # A classifier and a model without a head, as AutoModel saves it, need none. Others
    # whose config.json announces a head of its own lack it.
    lacks_head = config.has_head and names["embedder/head"].name not in files.shapes
    is_whole = table.startswith(("model.", "language_model.model."))
    if not lacks_head or not is_whole or "score.weight" in files.shapes:
        has_head = is_untied(files, table)
        config = dataclasses.replace(config, has_head=has_head)
    return Checkpoint(path, config, files, names_huggingface(config, files.shapes))


def _each(sharding: Any, names: Iterable[str]) -> Any:
    """Returns the sharding of each weight, by our name, of a tree that covers them."""
    if not isinstance(sharding, Mapping):
        return sharding

    def find(ours: str) -> Any:
        found, *rest = sharding, *ours.split("/")
        while isinstance(found, Mapping):
            if rest[0] not in found:
                raise ValueError(f"The shardings name no place for weight {ours!r}.")
            found = found[rest.pop(0)]
        return found

    return {ours: find(ours) for ours in names}


def default_dtype() -> DType:
    """Returns what weights are held as on this machine, if nobody says.

    "as-stored" on a CPU with kernels. Without them float32 on CPU, where XLA reads
    other types thirty times slower than memory allows, and bfloat16 elsewhere.
    """
    if jax.default_backend() != "cpu":
        return jnp.bfloat16
    return AS_STORED if kernels.available() else jnp.float32


def is_float(dtype: DType) -> bool:
    """Returns whether arrays of a dtype can hold plain weights."""
    try:
        return bool(jnp.issubdtype(jnp.dtype(dtype), jnp.floating))
    except TypeError:
        return False


def _plain_dtype(dtype: DType) -> DType:
    """Returns the dtype of the weights that are not packed."""
    if isinstance(dtype, str) and (dtype == AS_STORED or dtype in peft.KINDS):
        return jnp.float32
    if not is_float(dtype):
        raise ValueError(
            f"Weights cannot be held as {dtype!r}; choose a float dtype or one of "
            f"{', '.join(map(repr, (AS_STORED, *peft.KINDS)))}."
        )
    return dtype


def _read_weight(
    tensors: TensorReader, entry: Entry, struct: jax.ShapeDtypeStruct | QuantizedArray
) -> np.ndarray | QuantizedArray:
    """Reads one weight as its struct says, into memory of the host."""
    if isinstance(struct, QuantizedArray):
        if tensors.packed_kind(entry.name) == struct.kind:
            return struct.filled(tensors.read_packed(entry.name))
        read_rows = functools.partial(tensors.read_rows, entry.name)
        name = f"Tensor {entry.name!r} in {tensors.file_of(entry.name)}"
        return struct.filled(peft.pack_matrix(struct, read_rows, name=name))
    if entry.offset:
        value = tensors.read(entry.name, np.float32) + np.float32(entry.offset)
        value = value.astype(struct.dtype)
    else:
        value = tensors.read(entry.name, struct.dtype)
    return entry.from_theirs(value, struct.shape)


def _num_bytes(struct: jax.ShapeDtypeStruct | QuantizedArray) -> int:
    leaves = jax.tree.leaves(struct)
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def _check(checkpoint: Checkpoint, specs: Mapping[str, ParamSpec]) -> None:
    """Refuses a checkpoint whose tensors are not exactly those of its config."""
    shapes, tensors = checkpoint.tensors.shapes, checkpoint.tensors
    for ours, spec in specs.items():
        entry = checkpoint.names[ours]
        if entry.name not in shapes:
            raise CheckpointError(
                f"{checkpoint.path} lacks tensor {entry.name!r}, which a "
                f"{checkpoint.config.family} of {checkpoint.config.num_layers} layers "
                "needs."
            )
        expected, found = entry.their_shape(spec.shape), shapes[entry.name]
        if found != expected:
            raise CheckpointError(
                f"Tensor {entry.name!r} in {tensors.file_of(entry.name)} has shape "
                f"{found}; the config asks for {expected}."
            )
    known = {entry.name for entry in checkpoint.names.values()}
    for name in shapes:
        if name not in known and not is_extra(name, checkpoint.config):
            raise CheckpointError(
                f"{tensors.file_of(name)} holds tensor {name!r}, which is no part of "
                f"a {checkpoint.config.family} of {checkpoint.config.num_layers} "
                "layers."
            )
