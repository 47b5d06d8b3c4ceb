"""Small replicas of published repositories: their metadata with tiny random weights.

`data/published.json` has the config.json and generation_config.json of published
repositories as public listings and printed configs state them; some are rebuilt from
their family. Sizes are shrunk here, all other keys stay as published. Its
`chat_template` names, by file, one of the texts in `data/chat_templates.json`: those of
Gemma 2 and 3 as published; for ShieldGemma, FunctionGemma and TranslateGemma our own of
the same form.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from gemma.gm.ckpts import config_from_json, save_model
from gemma.gm.nn import Transformer
from gemma.gm.typing import Params
from gemma.gm.weights import flatten, num_out_axes, unflatten

DATA = Path(__file__).parent / "data"
TEMPLATES = json.loads((DATA / "chat_templates.json").read_bytes())
PUBLISHED = json.loads((DATA / "published.json").read_bytes())
# By the program that wrote them.
FOREIGN = {
    "awq/": "quantized by 'awq'",
    "gptq/": "quantized by 'gptq'",
    "mlx-community/": "quantized by MLX",
    "neuralmagic/": "quantized by 'compressed-tensors'",
    "unsloth/gemma-3-1b-it-bnb-4bit": "quantized by 'bitsandbytes'",
}
READ = [name for name in PUBLISHED if not name.startswith(tuple(FOREIGN))]
# Of the tiny tokenizer: ids it has, and the tokens that published ones call 106 or 107.
ROWS, END_OF_TURN = 480, 6
_SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 7,
    "num_attention_heads": 4, "head_dim": 8, "sliding_window": 8,
    "max_position_embeddings": 64,
}  # fmt: skip
_VISION = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
    "num_attention_heads": 2, "image_size": 56, "patch_size": 14,
}  # fmt: skip


def replica_config(name: str) -> dict[str, Any]:
    """Returns the config.json of a replica."""
    stated = _with_small_ids(PUBLISHED[name]["config"])
    if "text_config" not in stated:
        return _small_text(stated)
    stated |= {
        "text_config": _small_text(stated["text_config"]),
        "vision_config": stated["vision_config"] | _VISION,
        "mm_tokens_per_image": 1,
        "image_token_index": ROWS,
    }
    return stated


def template_of(name: str) -> str | None:
    """Returns which of `TEMPLATES` a replica has."""
    return next(iter(PUBLISHED[name].get("chat_template", {}).values()), None)


def make_replica(name: str, folder: Path) -> Path:
    """Writes a replica with weights and a tokenizer; returns its folder."""
    config = replica_config(name)
    model = Transformer(config_from_json(config, name))
    save_model(folder, model, _vivid_params(model))
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    generation = _with_small_ids(PUBLISHED[name].get("generation_config", {}))
    (folder / "generation_config.json").write_text(json.dumps(generation), "utf-8")
    state = json.loads((DATA / "tiny_tokenizer.json").read_bytes())
    if model.config.family == "gemma3":
        token = {"id": ROWS, "content": "<image_soft_token>", "special": True}
        state["added_tokens"].append(token)
    (folder / "tokenizer.json").write_text(json.dumps(state), "utf-8")
    _write_templates(name, folder)
    return folder


def _vivid_params(model: Transformer) -> Params:
    """Returns weights under which every part of a model changes its logits."""
    rng, params = np.random.default_rng(0), {}
    for name, spec in flatten(model.specs()).items():
        is_matrix = len(spec.shape) > 1 and "embedding" not in name
        fan_in = math.prod(spec.shape[num_out_axes(name) :])
        stddev = 1.5 / fan_in**0.5 if is_matrix else 0.3
        params[name] = np.float32(stddev) * rng.standard_normal(spec.shape, np.float32)
    return unflatten(params)


def _write_templates(name: str, folder: Path) -> None:
    """Writes tokenizer_config.json, and the chat template in the published files."""
    files = PUBLISHED[name].get("chat_template", {})
    texts = {file: TEMPLATES[template] for file, template in files.items()}
    stated = {"tokenizer_class": "GemmaTokenizer"}
    stated |= {f"{token}_token": f"<{token}>" for token in ("bos", "eos", "pad", "unk")}
    if text := texts.pop("tokenizer_config.json", None):
        stated["chat_template"] = text
    (folder / "tokenizer_config.json").write_text(json.dumps(stated), "utf-8")
    for file, text in texts.items():
        is_json = file.endswith(".json")
        content = json.dumps({"chat_template": text}) if is_json else text
        (folder / file).write_text(content, "utf-8")


def _small_text(stated: dict[str, Any]) -> dict[str, Any]:
    small = stated | _SIZES
    heads, kv_heads = (
        stated.get(f"num_{kind}_heads") for kind in ("attention", "key_value")
    )
    small["num_key_value_heads"] = 4 if heads == kv_heads else min(kv_heads or 2, 2)
    if stated.get("model_type") != "gemma":
        # Published ones are the width of a head, or of an equal share of the model.
        small["query_pre_attn_scalar"] = _SIZES["head_dim"]
    if stated.get("layer_types"):
        small["layer_types"] = stated["layer_types"][: _SIZES["num_hidden_layers"]]
    # Multimodal models have 64 rows more; text-only Gemma 3 none for the image token.
    small["vocab_size"] = ROWS + 64 * (stated.get("vocab_size", 262_208) == 262_208)
    return small


def _with_small_ids(stated: dict[str, Any]) -> dict[str, Any]:
    ends = stated.get("eos_token_id")
    small = {106: END_OF_TURN, 107: END_OF_TURN}
    if isinstance(ends, list):
        return stated | {"eos_token_id": [small.get(end, end) for end in ends]}
    return stated | ({} if ends is None else {"eos_token_id": small.get(ends, ends)})


# One of each shape and template.
SOME = list(
    {
        (config_from_json(replica_config(name), name), template_of(name)): name
        for name in READ
    }.values()
)
