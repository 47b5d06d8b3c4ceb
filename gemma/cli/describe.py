"""gemma describe: what a model is made of, and the memory that it needs."""

import dataclasses
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemma.cli.errors import explained
from gemma.cli.options import JsonOption, ModelOption
from gemma.cli.storage import size_words, storage_of, storage_words
from gemma.cli.terminal import Table, write_json, write_tables

if TYPE_CHECKING:
    from gemma.gm.nn import LayerConfig, TransformerConfig

# Bytes a weight. Quantized formats add scales, a few percent, that depend on the format.
_WEIGHT_BYTES = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "int4": 0.5}
_CACHE_BYTES = {"float32": 4, "bfloat16": 2}
_CONTEXTS = (1024, 4096, 8192, 32_768)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What is known of a model before any weight is read; the keys of `--json`.

    Attributes:
      model: What it was asked for by.
      config: Sizes.
      parameters: How many numbers its weights hold.
      disk: Bytes and format of the checkpoint; None for a name of the catalog.
      weights_bytes: Memory of the weights, by dtype.
      cache_bytes: Memory of keys and values of one sequence, by its length and dtype.
    """

    model: str
    config: dict[str, Any]
    parameters: dict[str, int]
    disk: dict[str, Any] | None
    weights_bytes: dict[str, int]
    cache_bytes: dict[int, dict[str, int]]


@explained
def describe(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A checkpoint as for --model, or a name of the catalog (Gemma3_4B), "
            "which needs none.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    system: Annotated[
        bool, typer.Option("--system", help="Show this installation instead.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show the sizes of a model and the memory it needs."""
    if name is not None and model is not None:
        raise typer.BadParameter("the model is given twice", param_hint="--model")
    if system:
        if name is not None or model is not None:
            raise typer.BadParameter("it takes no model", param_hint="--system")
        _write_system(json)
        return
    description = _describe(name if model is None else model)
    if json:
        write_json(dataclasses.asdict(description))
    else:
        write_tables(_tables(description))


def _write_system(as_json: bool) -> None:
    """Shows what was built, and what of it this processor runs."""
    import jax

    from gemma.gm import kernels

    found = {
        "kernels": kernels.instruction_set(),
        "devices": [str(device) for device in jax.devices()],
        "jax": jax.__version__,
    }
    if as_json:
        write_json(found)
        return
    built = (
        found["kernels"] or "not built: install a C++ compiler, then gemma-jax again"
    )
    rows = [
        ("C++ kernels", built),
        ("Devices", ", ".join(found["devices"])),
        ("JAX", found["jax"]),
    ]
    write_tables([Table("This installation", (), rows)])


def _describe(name: str | None) -> Description:
    from gemma.gm import hub
    from gemma.gm.ckpts import open_checkpoint
    from gemma.gm.nn import CATALOG, Transformer
    from gemma.gm.weights import num_params

    # What exists on disk comes first, as everywhere.
    if name in CATALOG and not Path(name).exists():
        config, disk = CATALOG[name], None
    else:
        checkpoint = open_checkpoint(hub.resolve(name))
        name, config = str(checkpoint.path), checkpoint.config
        disk = storage_of(checkpoint)
    specs = Transformer(config).specs()
    total = num_params(specs)
    embedding = num_params({"embedder": specs["embedder"]})
    # Eyes are not packed: they stay as published, in 16 bits.
    eyes = num_params({"vision": specs.get("vision", {})})
    lengths = [n for n in _CONTEXTS if n < config.max_positions]
    return Description(
        model=name,
        config=_sizes(config),
        parameters={
            "total": total,
            "embedding": embedding,
            "vision": eyes,
            "rest": total - embedding - eyes,
        },
        disk=disk,
        weights_bytes={
            dtype: int((total - eyes) * size + eyes * max(size, 2))
            for dtype, size in _WEIGHT_BYTES.items()
        },
        cache_bytes={
            length: {
                dtype: config.cache_bytes(length=length, itemsize=itemsize)
                for dtype, itemsize in _CACHE_BYTES.items()
            }
            for length in [*lengths, config.max_positions]
        },
    )


def _sizes(config: "TransformerConfig") -> dict[str, Any]:
    layer = config.layers[0]
    by_type = {layer.attention_type.value: layer for layer in config.layers}
    local = by_type.get("local")
    return {
        "family": config.family,
        "num_layers": config.num_layers,
        "attention": [layer.attention_type.value for layer in config.layers],
        "embed_dim": config.embed_dim,
        "hidden_dim": layer.hidden_dim,
        "num_heads": layer.num_heads,
        "num_kv_heads": layer.num_kv_heads,
        "head_dim": layer.head_dim,
        "window": local.window if local else None,
        "vocab_size": config.vocab_size,
        "attn_softcap": layer.attn_softcap,
        "final_softcap": config.final_softcap,
        "rope": {kind: _rope(layer) for kind, layer in sorted(by_type.items())},
        "max_positions": config.max_positions,
        "vision": config.vision and dataclasses.asdict(config.vision),
    }


def _rope(layer: "LayerConfig") -> dict[str, float]:
    return {"theta": layer.rope.theta, "factor": layer.rope.factor}


def _tables(description: Description) -> list[Table]:
    weights, cache = description.weights_bytes, description.cache_bytes
    about = {"int8": "about ", "int4": "about "}
    return [
        Table(
            description.model,
            (),
            [*_size_rows(description.config), *_storage_rows(description)],
        ),
        Table(
            "Memory for weights (scales of quantized ones not counted)",
            ("dtype", "bytes a weight", "memory"),
            [
                (
                    dtype,
                    f"{_WEIGHT_BYTES[dtype]:g}",
                    about.get(dtype, "") + size_words(size),
                )
                for dtype, size in weights.items()
            ],
        ),
        Table(
            "Memory for keys and values of one sequence",
            ("tokens", *_CACHE_BYTES),
            [
                (f"{length:,}", *(size_words(size) for size in by_dtype.values()))
                for length, by_dtype in cache.items()
            ],
        ),
    ]


def _size_rows(config: dict[str, Any]) -> list[tuple[str, str]]:
    heads = f"{config['num_heads']} query (N), {config['num_kv_heads']} key/value (K)"
    window = f"{config['window']:,} tokens" if config["window"] else "none"
    return [
        ("Family", config["family"]),
        ("Layers", f"{config['num_layers']}: {_pattern(config['attention'])}"),
        ("Width (D)", f"{config['embed_dim']:,}"),
        ("Feed-forward (F)", f"{config['hidden_dim']:,}"),
        ("Heads", f"{heads}, {config['head_dim']} wide (H)"),
        ("Window", window),
        ("Vocabulary (V)", f"{config['vocab_size']:,}"),
        ("Softcaps", _softcaps(config["attn_softcap"], config["final_softcap"])),
        ("RoPE", " and ".join(itertools.starmap(_rope_words, config["rope"].items()))),
        ("Context", f"{config['max_positions']:,} tokens"),
        ("Eyes", _eyes_words(config["vision"])),
    ]


def _eyes_words(vision: dict[str, Any] | None) -> str:
    if vision is None:
        return "none"
    side = vision["image_size"]
    return f"{side} x {side} pixels become {vision['tokens_per_image']} tokens"


def _storage_rows(description: Description) -> list[tuple[str, str]]:
    count, disk = description.parameters, description.disk
    rows = [
        ("Parameters", f"{count['total']:,}"),
        *(
            (f"  {words}", f"{count[part]:,}")
            for part, words in (
                ("embedding", "embedding"),
                ("vision", "eyes"),
                ("rest", "the rest"),
            )
            if count[part]
        ),
    ]
    if disk is not None:
        rows.append(("On disk", storage_words(disk, count["total"])))
    return rows


def _pattern(attention: list[str]) -> str:
    """Returns such as "4 times (5 local, 1 global), 2 local"."""
    period = next(
        p
        for p in range(1, len(attention) + 1)
        if all(a == b for a, b in zip(attention, attention[p:], strict=False))
    )
    times, rest = divmod(len(attention), period)
    if period == 1:
        return f"all {attention[0]}"
    unit, tail = _runs(attention[:period]), _runs(attention[:rest])
    whole = f"{times} times ({unit})" if times > 1 else unit
    return f"{whole}, {tail}" if tail else whole


def _runs(attention: list[str]) -> str:
    runs = [(kind, len(list(run))) for kind, run in itertools.groupby(attention)]
    return ", ".join(f"{count} {kind}" for kind, count in runs)


def _softcaps(attention: float | None, final: float | None) -> str:
    caps = {"attention": attention, "logits": final}
    stated = [f"{value:g} {name}" for name, value in caps.items() if value is not None]
    return ", ".join(stated) or "none"


def _rope_words(kind: str, rope: dict[str, float]) -> str:
    stretch = f" (stretched by {rope['factor']:g})" if rope["factor"] != 1 else ""
    return f"{rope['theta']:,.0f} {kind}{stretch}"
