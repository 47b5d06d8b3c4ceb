"""Models in GGUF files, written in the words of the converter of llama.cpp."""

from pathlib import Path

import gguf
import numpy as np

from gemma.gm.nn import RopeConfig, gemma1_config, gemma2_config, gemma3_config
from gemma.gm.weights import flatten

SIZES = {
    "embed_dim": 64, "hidden_dim": 96, "num_heads": 4, "num_kv_heads": 2,
    "head_dim": 32, "vocab_size": 70, "max_positions": 200,
}  # fmt: skip
MODELS = {
    "gemma": gemma1_config(num_layers=2, **SIZES),
    "gemma2": gemma2_config(num_layers=3, window=9, attn_softcap=3.0, **SIZES),
    "gemma3": gemma3_config(
        num_layers=7, window=9, **SIZES,
        global_rope=RopeConfig(theta=500_000.0, factor=8.0),
    ),
}  # fmt: skip

# Of each layer, ours and theirs.
NAMES = {
    "attn/q": "attn_q", "attn/k": "attn_k", "attn/v": "attn_v", "attn/o": "attn_output",
    "mlp/gate": "ffn_gate", "mlp/up": "ffn_up", "mlp/down": "ffn_down",
    "pre_attention_norm": "attn_norm", "pre_ffw_norm": "ffn_norm",
    "post_attention_norm": "post_attention_norm", "post_ffw_norm": "post_ffw_norm",
    "attn/query_norm": "attn_q_norm", "attn/key_norm": "attn_k_norm",
}  # fmt: skip


def their_tensors(params) -> dict[str, np.ndarray]:
    """Returns matrices [out, in], and norms one higher than in the model."""
    tensors = {}
    for path, weight in flatten(params).items():
        weight = np.asarray(weight)
        layer, _, ours = path.partition("/")
        if path == "embedder/input_embedding":
            name = "token_embd"
        elif path == "final_norm":
            name = "output_norm"
        else:
            name = f"blk.{layer.removeprefix('layer_')}.{NAMES[ours]}"
        if weight.ndim == 1:
            weight = weight + np.float32(1)
        elif ours == "attn/o":
            weight = weight.reshape(len(weight), -1)
        elif weight.ndim == 3:
            weight = weight.reshape(-1, weight.shape[-1])
        tensors[f"{name}.weight"] = weight
    return tensors


def their_keys(config) -> dict[str, object]:
    layer = config.layers[-1]
    keys = {
        "context_length": config.max_positions,
        "embedding_length": config.embed_dim,
        "block_count": config.num_layers,
        "feed_forward_length": layer.hidden_dim,
        "attention.head_count": layer.num_heads,
        "attention.head_count_kv": layer.num_kv_heads,
        "attention.key_length": layer.head_dim,
        "attention.value_length": layer.head_dim,
        "attention.layer_norm_rms_epsilon": np.float32(layer.norm_eps).item(),
    }
    if config.family == "gemma2":
        keys["attention.sliding_window"] = layer.window
        keys["attn_logit_softcapping"] = layer.attn_softcap
        keys["final_logit_softcapping"] = config.final_softcap
    if config.family == "gemma3":
        rope = config.layers[5].rope
        keys["attention.sliding_window"] = layer.window
        keys["rope.freq_base"] = rope.theta
        keys["rope.scaling.type"] = "linear"
        keys["rope.scaling.factor"] = rope.factor
    return keys


def write(
    path, config, tensors, *, keys=None, types=(), architecture=None, num_tokens=70,
):  # fmt: skip
    """Writes a model. `keys` replaces metadata, `types` says how tensors are packed."""
    architecture = architecture or config.family
    writer = gguf.GGUFWriter(path, architecture)
    kinds = {int: gguf.GGUFValueType.UINT32, float: gguf.GGUFValueType.FLOAT32}
    for key, value in (their_keys(config) | (keys or {})).items():
        if value is not None:
            kind = kinds.get(type(value), gguf.GGUFValueType.STRING)
            writer.add_key_value(f"{architecture}.{key}", value, kind)
    writer.add_array("tokenizer.ggml.tokens", [f"t{i}" for i in range(num_tokens)])
    for name, values in tensors.items():
        type_ = dict(types).get(name)
        packed = values if type_ is None else gguf.quants.quantize(values, type_)
        writer.add_tensor(name, packed, raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def split(path, part_len, *, small_first=False) -> list[Path]:
    """Replaces a file by parts of so many tensors; returns them in their order.

    With `small_first` the first part holds no tensors, as gguf-split writes if asked.
    """
    reader = gguf.GGUFReader(path)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(
        path, architecture, split_max_tensors=part_len, small_first_shard=small_first
    )
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        is_array = field.types[0] == gguf.GGUFValueType.ARRAY
        inner = field.types[-1] if is_array else None
        writer.add_key_value(name, field.contents(), field.types[0], inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path.unlink()
    return sorted(path.parent.glob(f"{path.stem}-*-of-*.gguf"))
