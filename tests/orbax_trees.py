"""DeepMind's trees of arrays, made by their einsums, and directories that Orbax writes.

Axes in the names of functions: N heads, D width, H head width, F hidden width.
"""

import logging

import jax
import numpy as np
import orbax.checkpoint as ocp

from gemma.gm.nn import TransformerConfig
from gemma.gm.vision import VisionConfig

EYES = VisionConfig(
    image_size=56, patch_size=7, embed_dim=32, hidden_dim=48, num_layers=2, num_heads=2,
    tokens_per_image=4,
)  # fmt: skip


def nested_tree(params, config: TransformerConfig, *, gate_first: bool = True, xp=np):
    """Returns the tree of their modules, made with numpy or jax.numpy."""
    if xp is np:
        params = jax.tree.map(np.asarray, params)
    tree = {
        "embedder": {"input_embedding": params["embedder"]["input_embedding"]},
        "final_norm": {"scale": params["final_norm"]},
    }
    for i in range(config.num_layers):
        tree[f"layer_{i}"] = _layer(params[f"layer_{i}"], gate_first, xp)
    if config.vision is not None:
        eyes = params["vision"]
        tree["embedder"]["mm_input_projection"] = {"w": eyes["projector"]["weight"].T}
        tree["embedder"]["mm_soft_embedding_norm"] = {
            "scale": eyes["projector"]["norm"]
        }
        tree["vision_encoder"] = {"siglip_encoder": _eyes(eyes, config.vision, xp)}
    return tree


def _layer(ours, gate_first: bool, xp):
    attn = {"attn_vec_einsum": {"w": xp.einsum("DNH->NHD", ours["attn"]["o"])}}
    q, k, v = (xp.einsum("NHD->NDH", ours["attn"][name]) for name in "qkv")
    if k.shape == q.shape:
        attn["qkv_einsum"] = {"w": xp.stack([q, k, v])}
    else:
        attn |= {"q_einsum": {"w": q}, "kv_einsum": {"w": xp.stack([k, v])}}
    gating = xp.stack([ours["mlp"]["gate"], ours["mlp"]["up"]])
    tree = {
        "attn": attn,
        "mlp": {
            "gating_einsum": gating if gate_first else xp.einsum("xFD->xDF", gating),
            "linear": ours["mlp"]["down"].T,
        },
    }
    for name in ("query_norm", "key_norm"):
        if name in ours["attn"]:
            attn[f"_{name}"] = {"scale": ours["attn"][name]}
    norms = {n: {"scale": w} for n, w in ours.items() if n.endswith("_norm")}
    return tree | norms


def _eyes(ours, config: VisionConfig, xp):
    transformer = {"encoder_norm": ours["final_norm"]}
    for i in range(config.num_layers):
        layer = ours[f"layer_{i}"]
        attn, mlp = layer["attn"], layer["mlp"]
        heads = {
            name: {
                "kernel": xp.einsum("NHD->DNH", attn[name[0]]),
                "bias": attn[f"{name[0]}_bias"],
            }
            for name in ("query", "key", "value")
        }
        out = {"kernel": xp.einsum("DNH->NHD", attn["o"]), "bias": attn["o_bias"]}
        transformer[f"encoderblock_{i}"] = {
            "LayerNorm_0": layer["attn_norm"],
            "LayerNorm_1": layer["mlp_norm"],
            "MultiHeadDotProductAttention_0": heads | {"out": out},
            "MlpBlock_0": {
                "Dense_0": {"kernel": mlp["up"].T, "bias": mlp["up_bias"]},
                "Dense_1": {"kernel": mlp["down"].T, "bias": mlp["down_bias"]},
            },
        }
    patches = ours["patch_embedding"]
    kernel = xp.einsum("wcyx->yxcw", patches["kernel"])
    return {
        "embedding": {"kernel": kernel, "bias": patches["bias"]},
        "pos_embedding": ours["position_embedding"][None],
        "Transformer": transformer,
    }


def flat_tree(nested):
    """Returns the paths of a nested tree, each with one level of leaves."""
    flat = {}

    def walk(path: str, node) -> None:
        for name, child in node.items():
            if isinstance(child, dict):
                walk(f"{path}/{name}", child)
            elif path.endswith("/mlp"):
                flat[f"{path}/{name}"] = {"w": child}
            else:
                flat.setdefault(path, {})[name] = child

    eyes = nested.get("vision_encoder", {})
    walk("transformer", {k: v for k, v in nested.items() if k != "vision_encoder"})
    walk("SigLiPFromPatches_0", eyes)
    return flat


def stacked_tree(nested, period: int):
    """Returns a flat tree in which the layers of a place in the pattern are one."""
    layers = [
        nested[f"layer_{i}"] for i in range(len(nested)) if f"layer_{i}" in nested
    ]
    rest = {k: v for k, v in nested.items() if not k.startswith("layer_")}
    stacks = {
        f"attention_type_{i}": jax.tree.map(lambda *x: np.stack(x), *layers[i::period])
        for i in range(period)
    }
    return flat_tree(rest | {"stacked_layers": stacks})


def training_state(nested):
    """Returns what a training keeps: the weights and much else."""
    return {
        "params": nested,
        "opt_state": [{"mu": nested, "count": np.int32(3)}, {}],
        "step": np.int32(3),
        "collections": {"batch_stats": {"mean": np.ones(3, np.float32)}},
    }


def write_orbax(path, tree, *, ocdbt: bool = True, zarr3: bool = False) -> None:
    """Writes a tree as Orbax does."""
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=ocdbt, use_zarr3=zarr3)
    # It warns that there is nothing to merge without OCDBT.
    logging.getLogger("absl").setLevel(logging.ERROR)
    with ocp.Checkpointer(handler) as writer:
        writer.save(path, jax.tree.map(np.asarray, tree))
