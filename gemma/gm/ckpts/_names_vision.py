"""The eyes of Gemma 3 in checkpoints: SigLIP and the projector <-> our tree.

Hugging Face keeps them with the text model, GGUF in a file of their own (mmproj), and
Ollama's own GGUF files in that of the text model, under names of their own.
"""

from collections.abc import Collection, Mapping
from typing import Any

from gemma.gm.ckpts._errors import CheckpointError
from gemma.gm.ckpts._names import Entry, Layout, check_sizes, short_decimal
from gemma.gm.vision import VisionConfig
from gemma.gm.weights import num_out_axes

# The default of each field in transformers 5.23, by our names.
_FIELDS = {
    "image_size": ("image_size", 224),
    "patch_size": ("patch_size", 16),
    "embed_dim": ("hidden_size", 768),
    "hidden_dim": ("intermediate_size", 3072),
    "num_layers": ("num_hidden_layers", 12),
    "num_heads": ("num_attention_heads", 12),
    "norm_eps": ("layer_norm_eps", 1e-6),
}
# Our name: Hugging Face's, GGUF's. Those of matrices and norms stand for two tensors.
_LAYER = {
    "attn_norm": ("layer_norm1", "ln1"),
    "attn/q": ("self_attn.q_proj", "attn_q"),
    "attn/k": ("self_attn.k_proj", "attn_k"),
    "attn/v": ("self_attn.v_proj", "attn_v"),
    "attn/o": ("self_attn.out_proj", "attn_out"),
    "mlp_norm": ("layer_norm2", "ln2"),
    "mlp/up": ("mlp.fc1", "ffn_up"),
    "mlp/down": ("mlp.fc2", "ffn_down"),
}
# What Ollama's own files call some of GGUF's tensors.
_OLLAMA = {
    "v.patch_embd": "v.patch_embedding",
    "v.position_embd": "v.position_embedding",
    "v.post_ln": "v.post_layernorm",
    "mm.soft_emb_norm": "mm.mm_soft_emb_norm",
    "mm.input_projection": "mm.mm_input_projection",
    "ln1": "layer_norm1",
    "ln2": "layer_norm2",
    "attn_out": "attn_output",
    "ffn_up": "mlp.fc1",
    "ffn_down": "mlp.fc2",
}
_PATCHES, _PROJECTOR = "embeddings.patch_embedding", "multi_modal_projector."
# As published and in transformers 4, as 5 saves it, as 5 has it in memory.
_TOWERS = (
    "vision_tower.vision_model.",
    "vision_tower.",
    "model.vision_tower.vision_model.",
    "model.vision_tower.",
)
# A pooling head that some configs make and nobody asks, and a buffer of old files.
_UNUSED = tuple(f"{tower}head." for tower in _TOWERS)
_BUFFER = "embeddings.position_ids"
# How names of the tower and of the projector begin in GGUF files.
_GGUF = ("v.", "mm.")


def vision_from_json(
    stated: Mapping[str, Any], *, tokens_per_image: int, soft_token: int
) -> VisionConfig:
    """Returns the eyes that a `vision_config` states.

    Raises:
      ValueError: It is no SigLIP, or a size is absurd.
    """
    kind = stated.get("model_type", "siglip_vision_model")
    activation = stated.get("hidden_act", "gelu_pytorch_tanh")
    if kind != "siglip_vision_model" or activation != "gelu_pytorch_tanh":
        raise ValueError(f"vision_config is a {kind} with {activation}")
    if stated.get("num_channels", 3) != 3:
        raise ValueError(f"num_channels is {stated['num_channels']!r}; images have 3")
    fields = {ours: stated.get(*theirs) for ours, theirs in _FIELDS.items()}
    fields |= {"tokens_per_image": tokens_per_image, "soft_token": soft_token}
    check_sizes(fields)
    return VisionConfig(**fields)


def vision_to_json(config: VisionConfig) -> dict[str, Any]:
    """Returns the `vision_config` of the eyes; undoes `vision_from_json`."""
    fields = {theirs: getattr(config, ours) for ours, (theirs, _) in _FIELDS.items()}
    return fields | {
        "model_type": "siglip_vision_model",
        "hidden_act": "gelu_pytorch_tanh",
        "vision_use_head": False,
    }


def vision_names_huggingface(
    config: VisionConfig, present: Collection[str]
) -> dict[str, Entry]:
    """Returns `{our path: entry}` for the spelling of the tensors present."""
    begins = {p: (f"{p}embeddings.", f"{p}encoder.") for p in _TOWERS}
    spelled = (p for p in _TOWERS if any(n.startswith(begins[p]) for n in present))
    tower = next(spelled, _TOWERS[0])
    is_nested = any(name.startswith(f"model.{_PROJECTOR}") for name in present)
    projector = f"model.{_PROJECTOR}" if is_nested else _PROJECTOR
    names = {
        **_pair("patch_embedding", f"{tower}{_PATCHES}"),
        "position_embedding": Entry(f"{tower}embeddings.position_embedding.weight"),
        **_pair("final_norm", f"{tower}post_layernorm"),
        "projector/norm": Entry(f"{projector}mm_soft_emb_norm.weight"),
        "projector/weight": Entry(
            f"{projector}mm_input_projection_weight", layout=Layout.TRANSPOSED
        ),
    }
    for i in range(config.num_layers):
        for ours, (theirs, _) in _LAYER.items():
            names |= _pair(f"layer_{i}/{ours}", f"{tower}encoder.layers.{i}.{theirs}")
    return {f"vision/{ours}": entry for ours, entry in names.items()}


def is_unused_by_eyes(name: str) -> bool:
    """Whether a tensor of the tower is known and not needed."""
    return name.startswith(_UNUSED) or name.endswith(_BUFFER)


def is_of_eyes(name: str) -> bool:
    """Whether a tensor is one of the tower or the projector."""
    prefixes = ("vision_tower.", _PROJECTOR, *_GGUF)
    return name.removeprefix("model.").startswith(prefixes)


def holds_vision(shapes: Collection[str]) -> bool:
    """Whether a GGUF file of a text model has tensors of the tower too."""
    return any(name.startswith(_GGUF) for name in shapes)


def vision_from_metadata(metadata: Mapping[str, Any], where: object) -> VisionConfig:
    """Returns the vision encoder that the metadata of an mmproj file states, or of Ollama's file.

    Args:
      metadata: Keys and values.
      where: The file, for error messages.
    """
    prefix = "gemma3.vision"
    if metadata.get("general.architecture") != "gemma3":
        prefix = "clip.vision"
        _require_gemma3_projector(metadata, where)
    keys = {
        "image_size": "image_size",
        "patch_size": "patch_size",
        "embed_dim": "embedding_length",
        "hidden_dim": "feed_forward_length",
        "num_layers": "block_count",
        "num_heads": "attention.head_count",
    }
    try:
        fields = {ours: metadata[f"{prefix}.{key}"] for ours, key in keys.items()}
        check_sizes(fields)
        epsilon = metadata.get(f"{prefix}.attention.layer_norm_epsilon", 1e-6)
        # What llama.cpp's files do not state: sixteen patches become one soft token.
        num_tokens = (fields["image_size"] // fields["patch_size"] // 4) ** 2
        num_tokens = metadata.get("gemma3.mm.tokens_per_image", num_tokens)
        check_sizes({"tokens_per_image": num_tokens})
        return VisionConfig(
            **fields, tokens_per_image=num_tokens, norm_eps=short_decimal(epsilon)
        )
    except KeyError as error:
        raise CheckpointError(f"{where} lacks the key {error} in its header.") from None
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{where} does not describe eyes: {error}") from None


def _require_gemma3_projector(metadata: Mapping[str, Any], where: object) -> None:
    kind = metadata.get(
        "clip.vision.projector_type", metadata.get("clip.projector_type")
    )
    if kind != "gemma3":
        raise CheckpointError(
            f"{where} holds the eyes of {kind!r}; those of 'gemma3' can be read."
        )


def vision_names_gguf(
    config: VisionConfig, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Entry]:
    """Returns `{our path: entry}` for an mmproj file, or for Ollama's file.

    Early conversions exchanged the names of the two matrices of a feed-forward layer;
    their shapes tell.
    """
    is_exchanged = shapes.get("v.blk.0.ffn_up.weight", ())[:1] == (config.embed_dim,)
    spelled = {"ffn_up": "ffn_down", "ffn_down": "ffn_up"} if is_exchanged else {}
    if "v.patch_embedding.weight" in shapes:
        spelled = _OLLAMA

    def spell(name: str) -> str:
        return spelled.get(name, name)

    names = {
        **_pair("patch_embedding", spell("v.patch_embd")),
        # Not the matrix of a product: its rows are added.
        "position_embedding": Entry(
            f"{spell('v.position_embd')}.weight", layout=Layout.SAME
        ),
        **_pair("final_norm", spell("v.post_ln")),
        # The one norm of the tower that converters add one to.
        "projector/norm": Entry(f"{spell('mm.soft_emb_norm')}.weight", offset=-1.0),
        "projector/weight": Entry(
            f"{spell('mm.input_projection')}.weight", layout=Layout.TRANSPOSED
        ),
    }
    for i in range(config.num_layers):
        for ours, (_, theirs) in _LAYER.items():
            names |= _pair(f"layer_{i}/{ours}", f"v.blk.{i}.{spell(theirs)}")
    return {f"vision/{ours}": entry for ours, entry in names.items()}


def _pair(ours: str, theirs: str) -> dict[str, Entry]:
    """Returns what is multiplied with and what is added: of a matrix or of a norm."""
    weight, bias = f"{theirs}.weight", f"{theirs}.bias"
    if ours.endswith("norm"):
        return {f"{ours}/scale": Entry(weight), f"{ours}/bias": Entry(bias)}
    if ours == "patch_embedding":
        return {
            f"{ours}/kernel": Entry(weight, layout=Layout.SAME),
            f"{ours}/bias": Entry(bias),
        }
    return {
        ours: Entry(weight, num_out_axes(ours)),
        f"{ours}_bias": Entry(bias, layout=Layout.FLAT),
    }
