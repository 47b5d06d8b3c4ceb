"""What a checkpoint takes on disk, in numbers and in words."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gemma.gm.ckpts import Checkpoint


def storage_of(checkpoint: "Checkpoint") -> dict[str, Any]:
    """Returns the bytes of the files that hold the weights, and their format."""
    from gemma.gm.ckpts import GgufFile

    tensors = checkpoint.tensors
    if isinstance(tensors, GgufFile):
        name, types = "GGUF", {tensor.block.name for tensor in tensors.tensors.values()}
    else:
        kinds = {tensors.packed_kind(name) for name in tensors.shapes}
        name, types = "safetensors", {f"{kind.bits} bits" for kind in kinds if kind}
    layout = f"{name} ({', '.join(sorted(types))})" if types else name
    return {
        "bytes": sum(file.stat().st_size for file in tensors.files),
        "format": layout,
    }


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
