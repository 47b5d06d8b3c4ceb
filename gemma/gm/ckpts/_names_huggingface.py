"""Hugging Face checkpoints: config.json and tensor names <-> our config and tree.

Configs of transformers 4 (flat `rope_theta`, as on the Hub) and 5 (nested
`rope_parameters`) are read; what is written can be read by both.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._heads import HEADS
from gemma.gm.ckpts._names import Entry, check_config, check_sizes, with_rope
from gemma.gm.ckpts._names_vision import (
    is_of_eyes,
    is_unused_by_eyes,
    vision_from_json,
    vision_names_huggingface,
    vision_to_json,
)
from gemma.gm.ckpts._refused_fields import refuse_fields
from gemma.gm.ckpts._rope_json import (
    rope_from_json,
    rope_to_json,
    ropes_from_json,
    ropes_to_json,
)
from gemma.gm.nn import (
    AttentionType,
    Classifier,
    RopeConfig,
    TokenClassifier,
    TransformerConfig,
    gemma1_config,
    gemma2_config,
    gemma3_config,
)
from gemma.gm.vision import VisionConfig
from gemma.gm.weights import num_out_axes

_MODEL_TYPES = {"gemma": "gemma", "gemma2": "gemma2", "gemma3_text": "gemma3"}
# ShieldGemma 2 is a Gemma 3 4B whose answer is the next token, "Yes" or "No".
_MULTIMODAL_TYPES = ("gemma3", "shieldgemma2")

# The default of each field in transformers 5.23: published files leave them out.
_DEFAULTS = {
    "gemma": {
        "vocab_size": 256_000, "hidden_size": 3072, "intermediate_size": 24_576,
        "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 16,
        "head_dim": 256, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6,
    },
    "gemma2": {
        "vocab_size": 256_000, "hidden_size": 2304, "intermediate_size": 9216,
        "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
        "head_dim": 256, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6,
        "query_pre_attn_scalar": 256, "sliding_window": 4096,
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
    },
    "gemma3_text": {
        "vocab_size": 262_208, "hidden_size": 2304, "intermediate_size": 9216,
        "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
        "head_dim": 256, "max_position_embeddings": 131_072, "rms_norm_eps": 1e-6,
        "query_pre_attn_scalar": 256, "sliding_window": 4096,
        "final_logit_softcapping": None,
    },
}  # fmt: skip

_TYPE_NAMES = {
    "full_attention": AttentionType.GLOBAL,
    "sliding_attention": AttentionType.LOCAL,
}
_NAME_OF_TYPE = {value: key for key, value in _TYPE_NAMES.items()}

# Our name: theirs.
_ATTENTION = {
    "attn/q": Entry("self_attn.q_proj.weight"),
    "attn/k": Entry("self_attn.k_proj.weight"),
    "attn/v": Entry("self_attn.v_proj.weight"),
    "attn/o": Entry("self_attn.o_proj.weight"),
    "mlp/gate": Entry("mlp.gate_proj.weight"),
    "mlp/up": Entry("mlp.up_proj.weight"),
    "mlp/down": Entry("mlp.down_proj.weight"),
    "pre_attention_norm": Entry("input_layernorm.weight"),
}
_LAYER = {
    # In Gemma 1 the norm named after attention is the one before the feed-forward.
    "gemma": _ATTENTION | {"pre_ffw_norm": Entry("post_attention_layernorm.weight")},
    "gemma2": _ATTENTION
    | {
        "post_attention_norm": Entry("post_attention_layernorm.weight"),
        "pre_ffw_norm": Entry("pre_feedforward_layernorm.weight"),
        "post_ffw_norm": Entry("post_feedforward_layernorm.weight"),
    },
}
_LAYER["gemma3"] = _LAYER["gemma2"] | {
    "attn/query_norm": Entry("self_attn.q_norm.weight"),
    "attn/key_norm": Entry("self_attn.k_norm.weight"),
}

# Where the text decoder stands: alone, in a multimodal model of transformers 5, in
# one of transformers 4; and without a head, as AutoModel saves both.
_PREFIXES = (
    "model.",
    "model.language_model.",
    "language_model.model.",
    "language_model.",
    "",
)
# Those that `lm_head.weight` stands beside.
_BESIDE_HEAD = ("model.", "model.language_model.", "")
_CLASSES = {"gemma": "Gemma", "gemma2": "Gemma2", "gemma3": "Gemma3"}
# A buffer that old files carry.
_BUFFER = "rotary_emb.inv_freq"
# What makes a classifier of it.
_SCORE = {"score.weight": "weight", "score.bias": "bias"}


def names_huggingface(
    config: TransformerConfig, present: Iterable[str]
) -> dict[str, Entry]:
    """Returns `{our path: entry}` for the prefix that the tensors present have."""
    present = set(present)
    prefix = _prefix(config, present)
    names = {
        "embedder/input_embedding": Entry(f"{prefix}embed_tokens.weight"),
        "final_norm": Entry(f"{prefix}norm.weight"),
    }
    for i in range(config.num_layers):
        for ours, entry in _LAYER[config.family].items():
            theirs = f"{prefix}layers.{i}.{entry.name}"
            names[f"layer_{i}/{ours}"] = Entry(theirs, num_out_axes(ours))
    if config.has_head:
        own = "lm_head.weight" if prefix in _BESIDE_HEAD else HEADS[1]
        names["embedder/head"] = Entry(next((h for h in HEADS if h in present), own))
    if config.vision is not None:
        names |= vision_names_huggingface(config.vision, present)
    return names


def _prefix(config: TransformerConfig, present: Collection[str]) -> str:
    """Returns the prefix of most tensors present, any one of which may be missing."""
    # Multimodal models are written as published checkpoints are: all versions read it.
    default = _PREFIXES[0 if config.vision is None else 2]

    def count(prefix: str) -> int:
        starts = tuple(f"{prefix}{x}" for x in ("embed_tokens.", "layers.", "norm."))
        return sum(name.startswith(starts) for name in present)

    return max((default, *_PREFIXES), key=count)


def names_score(classifier: Classifier) -> dict[str, Entry]:
    """Returns `{our path: entry}` of what a classifier has beside its decoder."""
    present = classifier.score_specs()
    return {
        f"score/{ours}": Entry(theirs)
        for theirs, ours in _SCORE.items()
        if ours in present
    }


def is_extra(name: str, config: TransformerConfig) -> bool:
    """Whether a tensor is known and not a weight of the model."""
    if name in (*HEADS, *_SCORE) or name.endswith(_BUFFER):
        return True
    return is_unused_by_eyes(name) or (config.vision is None and is_of_eyes(name))


def config_from_json(stated: Mapping[str, Any], where: object) -> TransformerConfig:
    """Returns the config that a config.json states.

    Args:
      stated: The JSON object.
      where: The file, for error messages.
    """
    model_type, whole = stated.get("model_type"), stated
    if model_type in _MULTIMODAL_TYPES:
        text = stated.get("text_config", {})
        if not isinstance(text, Mapping):
            raise CheckpointError(f"{where} does not describe a Gemma: text_config.")
        # The text part of a published multimodal config may leave its type out.
        stated = {"model_type": "gemma3_text"} | dict(text)
        model_type = stated["model_type"]
    if not isinstance(model_type, str) or model_type not in _MODEL_TYPES:
        raise CheckpointError(
            f"{where} is of architecture {model_type!r}; gemma, gemma2, gemma3 and "
            "gemma3_text can be read."
        )
    fields = _DEFAULTS[model_type] | dict(stated)
    refuse_fields(fields, where)
    sizes = {
        "num_layers": fields["num_hidden_layers"],
        "embed_dim": fields["hidden_size"],
        "hidden_dim": fields["intermediate_size"],
        "num_heads": fields["num_attention_heads"],
        "num_kv_heads": fields["num_key_value_heads"],
        "head_dim": fields["head_dim"],
        "vocab_size": fields["vocab_size"],
        "max_positions": fields["max_position_embeddings"],
        "norm_eps": fields["rms_norm_eps"],
    }
    try:
        check_sizes(sizes)
        config = _BUILD[model_type](fields, sizes)
        check_config(config)
        is_tied = whole.get("tie_word_embeddings") in (None, True)
        return dataclasses.replace(config, vision=_vision(whole), has_head=not is_tied)
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise CheckpointError(f"{where} does not describe a Gemma: {error}") from None


def _vision(stated: Mapping[str, Any]) -> VisionConfig | None:
    """Reads the eyes of a multimodal config."""
    is_multimodal = stated["model_type"] in _MULTIMODAL_TYPES
    if not is_multimodal or stated.get("vision_config") is None:
        return None
    return vision_from_json(
        stated["vision_config"],
        tokens_per_image=stated.get("mm_tokens_per_image", 256),
        # transformers has two names for it.
        soft_token=stated.get(
            "image_token_id", stated.get("image_token_index", 262_144)
        ),
    )


def _gemma1(fields: Mapping[str, Any], sizes: dict[str, Any]) -> TransformerConfig:
    types = fields.get("layer_types")
    if types is not None and set(types) != {"full_attention"}:
        raise ValueError("layer_types names others than 'full_attention'")
    return with_rope(gemma1_config(**sizes), rope_from_json(fields))


def _gemma2(fields: Mapping[str, Any], sizes: dict[str, Any]) -> TransformerConfig:
    config = gemma2_config(
        **sizes,
        query_pre_attn_scalar=_query_scalar(fields),
        attention_types=_attention_types(fields, period=2),
        window=_window(fields),
        attn_softcap=fields["attn_logit_softcapping"],
        final_softcap=fields["final_logit_softcapping"],
    )
    return with_rope(config, rope_from_json(fields))


def _gemma3(fields: Mapping[str, Any], sizes: dict[str, Any]) -> TransformerConfig:
    period = fields.get("sliding_window_pattern")
    global_rope, local_rope = ropes_from_json(fields)
    return gemma3_config(
        **sizes,
        query_pre_attn_scalar=_query_scalar(fields),
        attention_types=_attention_types(fields, 6 if period is None else period),
        window=_window(fields),
        final_softcap=fields["final_logit_softcapping"],
        global_rope=global_rope,
        local_rope=local_rope,
    )


_BUILD = {"gemma": _gemma1, "gemma2": _gemma2, "gemma3_text": _gemma3}


def _attention_types(
    fields: Mapping[str, Any], period: int
) -> tuple[AttentionType, ...]:
    """Reads the type of each layer; by default each period ends in a global one."""
    stated, num_layers = fields.get("layer_types"), fields["num_hidden_layers"]
    if stated is None:
        _check_period(fields, period)
        return tuple(
            AttentionType.LOCAL if (i + 1) % period else AttentionType.GLOBAL
            for i in range(num_layers)
        )
    if len(stated) != num_layers:
        raise ValueError(
            f"layer_types has {len(stated)} entries for {num_layers} layers"
        )
    for name in stated:
        if name not in _TYPE_NAMES:
            raise ValueError(f"layer_types has {name!r}, none of {list(_TYPE_NAMES)}")
    return tuple(_TYPE_NAMES[name] for name in stated)


def _check_period(fields: Mapping[str, Any], period: int) -> None:
    """Refuses another period than the one computed, under either of its names."""
    check_sizes({"sliding_window_pattern": period})
    for name in ("sliding_window_pattern", "_sliding_window_pattern"):
        if fields.get(name) not in (None, period):
            raise ValueError(
                f"{name} is {fields[name]!r}; without layer_types it is {period}"
            )


def _query_scalar(fields: Mapping[str, Any]) -> float:
    """Reads what scores are divided by the root of; null and 0 do not mean a default."""
    scalar = fields["query_pre_attn_scalar"]
    if not scalar:
        raise ValueError(f"query_pre_attn_scalar is {scalar!r}; it must be positive")
    return scalar


def _window(fields: Mapping[str, Any]) -> int:
    """Reads the window of local layers, which a model without them may leave out."""
    types = set(fields.get("layer_types") or ())
    is_unused = types == {_NAME_OF_TYPE[AttentionType.GLOBAL]}
    if is_unused and fields["sliding_window"] is None:
        return fields["max_position_embeddings"]
    check_sizes({"sliding_window": fields["sliding_window"]})
    return fields["sliding_window"]


def config_to_json(config: TransformerConfig, dtype: str) -> dict[str, Any]:
    """Returns the config.json of a config, for transformers 4 and 5."""
    text = _text_to_json(config, dtype)
    if config.vision is None:
        return text
    return {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "dtype": dtype,
        "text_config": text,
        "vision_config": vision_to_json(config.vision),
        "mm_tokens_per_image": config.vision.tokens_per_image,
        "boi_token_index": 255_999,
        "eoi_token_index": 256_000,
        "image_token_index": config.vision.soft_token,
        "tie_word_embeddings": not config.has_head,
        "eos_token_id": [1, 106],
    }


def _text_to_json(config: TransformerConfig, dtype: str) -> dict[str, Any]:
    first = config.layers[0]
    model_type = "gemma3_text" if config.family == "gemma3" else config.family
    fields: dict[str, Any] = {
        "architectures": [f"{_CLASSES[config.family]}ForCausalLM"],
        "model_type": model_type,
        "dtype": dtype,
        "vocab_size": config.vocab_size,
        "hidden_size": config.embed_dim,
        "intermediate_size": first.hidden_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": first.num_heads,
        "num_key_value_heads": first.num_kv_heads,
        "head_dim": first.head_dim,
        "max_position_embeddings": config.max_positions,
        "rms_norm_eps": config.norm_eps,
        "hidden_activation": "gelu_pytorch_tanh",
        "tie_word_embeddings": not config.has_head,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    if config.family == "gemma":
        return fields | rope_to_json(first.rope)
    types = [layer.attention_type for layer in config.layers]
    fields |= {
        "query_pre_attn_scalar": _undo_root(first.query_scale),
        "sliding_window": first.window,
        "layer_types": [_NAME_OF_TYPE[t] for t in types],
        "attn_logit_softcapping": first.attn_softcap,
        "final_logit_softcapping": config.final_softcap,
    }
    if config.family == "gemma2":
        return fields | rope_to_json(first.rope)
    rope = {layer.attention_type: layer.rope for layer in config.layers}
    global_rope = rope.get(AttentionType.GLOBAL, RopeConfig(theta=1e6))
    local_rope = rope.get(AttentionType.LOCAL, RopeConfig(theta=1e4))
    return fields | ropes_to_json(global_rope, local_rope)


def classifier_to_json(classifier: Classifier) -> dict[str, Any]:
    """Returns what the config.json of a classifier says beside that of its decoder."""
    task = "Token" if isinstance(classifier, TokenClassifier) else "Sequence"
    names = [f"LABEL_{i}" for i in range(classifier.num_labels)]
    config = classifier.model.config
    is_text_of_gemma3 = config.family == "gemma3" and config.vision is None
    kind = _CLASSES[config.family] + ("Text" if is_text_of_gemma3 else "")
    return {
        "architectures": [f"{kind}For{task}Classification"],
        "id2label": dict(enumerate(names)),
        "label2id": {name: i for i, name in enumerate(names)},
    }


def _undo_root(query_scale: float) -> float:
    """Returns the x of `x ** -0.5`, exactly for whole numbers."""
    scalar = query_scale**-2
    return round(scalar) if abs(scalar - round(scalar)) < 1e-6 else scalar
