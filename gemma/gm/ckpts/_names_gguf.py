"""GGUF checkpoints: metadata and tensor names -> our config and tree.

The attention scale, the pattern of local layers and their rotary base are not in the
metadata. They are those of the published models, and of llama.cpp.
"""

from collections.abc import Mapping
from typing import Any

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._gguf import EMBEDDING, HEAD
from gemma.gm.ckpts._names import (
    Entry,
    check_config,
    check_sizes,
    short_decimal,
    with_rope,
)
from gemma.gm.nn import (
    RopeConfig,
    TransformerConfig,
    gemma1_config,
    gemma2_config,
    gemma3_config,
)
from gemma.gm.weights import num_out_axes

# The converter of llama.cpp adds one to the weight of every norm of these families.
_NORM = -1.0

# Published models of so long a context have positions stretched by 8.
LONG_CONTEXT = 131_072

_COMMON = {
    "attn/q": Entry("attn_q.weight"),
    "attn/k": Entry("attn_k.weight"),
    "attn/v": Entry("attn_v.weight"),
    "attn/o": Entry("attn_output.weight"),
    "mlp/gate": Entry("ffn_gate.weight"),
    "mlp/up": Entry("ffn_up.weight"),
    "mlp/down": Entry("ffn_down.weight"),
    "pre_attention_norm": Entry("attn_norm.weight", offset=_NORM),
    "pre_ffw_norm": Entry("ffn_norm.weight", offset=_NORM),
}
_LAYER = {"gemma": _COMMON}
_LAYER["gemma2"] = _COMMON | {
    "post_attention_norm": Entry("post_attention_norm.weight", offset=_NORM),
    "post_ffw_norm": Entry("post_ffw_norm.weight", offset=_NORM),
}
_LAYER["gemma3"] = _LAYER["gemma2"] | {
    "attn/query_norm": Entry("attn_q_norm.weight", offset=_NORM),
    "attn/key_norm": Entry("attn_k_norm.weight", offset=_NORM),
}


def names_gguf(config: TransformerConfig) -> dict[str, Entry]:
    """Returns `{our path: entry}`."""
    names = {
        "embedder/input_embedding": Entry(EMBEDDING),
        "final_norm": Entry("output_norm.weight", offset=_NORM),
    }
    if config.has_head:
        names["embedder/head"] = Entry(HEAD)
    for i in range(config.num_layers):
        for ours, entry in _LAYER[config.family].items():
            theirs = f"blk.{i}.{entry.name}"
            names[f"layer_{i}/{ours}"] = Entry(theirs, num_out_axes(ours), entry.offset)
    return names


def config_from_metadata(
    metadata: Mapping[str, Any], where: object
) -> TransformerConfig:
    """Returns the config that the metadata of a GGUF file states.

    Args:
      metadata: Keys and values.
      where: The file, for error messages.
    """
    family = metadata.get("general.architecture")
    if family not in _BUILD:
        raise CheckpointError(
            f"{where} is of architecture {family!r}; gemma, gemma2 and gemma3 can be "
            "read."
        )

    def get(key: str, *default: Any) -> Any:
        if default:
            return metadata.get(f"{family}.{key}", default[0])
        return metadata[f"{family}.{key}"]

    try:
        sizes = {
            "num_layers": get("block_count"),
            "embed_dim": get("embedding_length"),
            "hidden_dim": get("feed_forward_length"),
            "num_heads": get("attention.head_count"),
            "num_kv_heads": get("attention.head_count_kv"),
            "head_dim": get("attention.key_length"),
            "vocab_size": len(metadata["tokenizer.ggml.tokens"]),
            "max_positions": get("context_length"),
            "norm_eps": short_decimal(get("attention.layer_norm_rms_epsilon", 1e-6)),
        }
        check_sizes(sizes)
        config = _BUILD[family](get, sizes)
        check_config(config)
        return config
    except KeyError as error:
        raise CheckpointError(f"{where} lacks the key {error} in its header.") from None
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{where} does not describe a Gemma: {error}") from None


def _gemma1(get: Any, sizes: dict[str, Any]) -> TransformerConfig:
    return with_rope(gemma1_config(**sizes), _rope(get, 1e4))


def _gemma2(get: Any, sizes: dict[str, Any]) -> TransformerConfig:
    config = gemma2_config(
        **sizes,
        query_pre_attn_scalar=_query_scalar(sizes, large=46),
        window=get("attention.sliding_window", 4096),
        attn_softcap=get("attn_logit_softcapping", 50.0),
        final_softcap=get("final_logit_softcapping", 30.0),
    )
    return with_rope(config, _rope(get, 1e4))


def _gemma3(get: Any, sizes: dict[str, Any]) -> TransformerConfig:
    return gemma3_config(
        **sizes,
        query_pre_attn_scalar=_query_scalar(sizes, large=62),
        window=get("attention.sliding_window", 1024),
        final_softcap=get("final_logit_softcapping", None),
        global_rope=_global_rope(get, sizes),
        local_rope=RopeConfig(theta=get("rope.local.freq_base", 1e4)),
    )


def _global_rope(get: Any, sizes: Mapping[str, Any]) -> RopeConfig:
    """Reads the rotary positions of global layers, also in the words of Ollama.

    Its files do not state the scaling that all models of a long context have.
    """
    rope = _rope(get, get("rope.global.freq_base", 1e6))
    is_stated = get("rope.scaling.type", None) is not None
    if is_stated or sizes["max_positions"] < LONG_CONTEXT:
        return rope
    return RopeConfig(theta=rope.theta, factor=8.0)


def _rope(get: Any, theta: float) -> RopeConfig:
    """Reads rotary positions: of global layers, in Gemma 3."""
    kind = get("rope.scaling.type", "none")
    if kind not in ("none", "linear"):
        raise ValueError(f"rope.scaling.type {kind!r} is none of 'none', 'linear'")
    factor = get("rope.scaling.factor", 1.0) if kind == "linear" else 1.0
    return RopeConfig(theta=get("rope.freq_base", theta), factor=factor)


_BUILD = {"gemma": _gemma1, "gemma2": _gemma2, "gemma3": _gemma3}


def _query_scalar(sizes: Mapping[str, Any], *, large: int) -> float:
    """Returns D / N for the 27B models, known by their number of layers, else H."""
    if sizes["num_layers"] == large:
        return sizes["embed_dim"] / sizes["num_heads"]
    return sizes["head_dim"]
