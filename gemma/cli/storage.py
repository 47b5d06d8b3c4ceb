"""What a checkpoint takes on disk, in numbers and in words."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gemma.gm.ckpts import Checkpoint


def storage_of(checkpoint: "Checkpoint") -> dict[str, Any]:
    """Returns the bytes of the files that hold the weights, and their format."""
    return {
        "bytes": sum(map(_num_bytes, checkpoint.tensors.files)),
        "format": _format_of(checkpoint),
    }


def _num_bytes(path: Path) -> int:
    """Returns the bytes of a file, or of all in a directory."""
    files = [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files or [path])


def _format_of(checkpoint: "Checkpoint") -> str:
    from gemma.gm.ckpts import GgufFile, open_checkpoint

    # The eyes of a GGUF file stand apart.
    tensors = open_checkpoint(checkpoint.path, text_only=True).tensors
    if isinstance(tensors, GgufFile):
        name, types = "GGUF", {tensor.block.name for tensor in tensors.tensors.values()}
    else:
        is_safetensors = any(file.suffix == ".safetensors" for file in tensors.files)
        name = "safetensors" if is_safetensors else "Orbax"
        kinds = {tensors.packed_kind(name) for name in tensors.shapes}
        types = {f"{kind.bits} bits" for kind in kinds if kind}
    return f"{name} ({', '.join(sorted(types))})" if types else name


def storage_words(storage: dict[str, Any], num_params: int) -> str:
    """Returns such as "1.07 GB, safetensors, 16.0 bits a weight"."""
    bits = 8 * storage["bytes"] / num_params
    return (
        f"{size_words(storage['bytes'])}, {storage['format']}, {bits:.1f} bits a weight"
    )


def size_words(num_bytes: int) -> str:
    """Returns such as "1.07 GB": three digits, decimal units."""
    value, unit = float(num_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    digits = 0 if unit == "B" or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {unit}"
