"""The params tree of 2024: its names and shapes, and ours.

`to_gm` and `from_gm` are inverses of one another. Both transpose and stack and compute
nothing, so gradients and dtypes pass through them.

Axes: D model width, N query heads, K key/value heads, H head width, F hidden width,
V vocabulary.

| 2024 | shape | ours |
|---|---|---|
| `embedder/input_embedding` | V D | the same |
| `attn/q_einsum/w`, `attn/kv_einsum/w` | N D H, 2 K D H | `q`, `k`, `v` |
| `attn/qkv_einsum/w`, where K = N | 3 N D H | `q`, `k`, `v` |
| `attn/attn_vec_einsum/w` | N H D | `o` |
| `attn/_query_norm/scale`, `attn/_key_norm/scale` | H | `query_norm`, `key_norm` |
| `mlp/gating_einsum` | 2 D F, or 2 F D | `gate`, `up` |
| `mlp/linear` | F D | `down` |
| `pre_attention_norm/scale` and the like | D | `pre_attention_norm` and the like |
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gemma.gm.nn import LayerConfig, Transformer, TransformerConfig
from gemma.gm.typing import Params
from gemma.gm.weights import flatten, unflatten

_NORMS = ("pre_attention_norm", "pre_ffw_norm")
_POST_NORMS = ("post_attention_norm", "post_ffw_norm")
_GATING = "mlp/gating_einsum"
# The width of Gemma 2 2B: the last model whose gating weights are 2 D F.
_GEMMA2_2B_WIDTH = 2304


def to_gm(tree: Params, config: TransformerConfig) -> dict[str, Any]:
    """Returns our params of a tree of 2024, which `check` must have passed."""
    layers = {
        f"layer_{i}": _layer_to_gm(
            tree[f"layer_{i}"], layer, is_transposed(config, tree[f"layer_{i}"])
        )
        for i, layer in enumerate(config.layers)
    }
    return {
        "embedder": {"input_embedding": tree["embedder"]["input_embedding"]},
        **layers,
        "final_norm": tree["final_norm"]["scale"],
    }


def from_gm(params: Params, config: TransformerConfig) -> dict[str, Any]:
    """Returns the tree of 2024 of our params."""
    layers = {
        f"layer_{i}": layer_from_gm(params[f"layer_{i}"], config, layer)
        for i, layer in enumerate(config.layers)
    }
    return {
        "embedder": {"input_embedding": params["embedder"]["input_embedding"]},
        **layers,
        "final_norm": {"scale": params["final_norm"]},
    }


def layer_from_gm(
    params: Params, config: TransformerConfig, layer: LayerConfig
) -> dict[str, Any]:
    """Returns one layer as the tree of 2024 has it."""
    mlp = params["mlp"]
    gating = jnp.stack([mlp["gate"], mlp["up"]])
    if not is_transposed(config):
        gating = gating.transpose(0, 2, 1)
    return {
        "attn": _attention_from_gm(params["attn"], layer),
        "mlp": {"gating_einsum": gating, "linear": mlp["down"].T},
        **{name: {"scale": params[name]} for name in _norms(layer)},
    }


def is_transposed(config: TransformerConfig, layer: Params | None = None) -> bool:
    """Returns whether gating weights are 2 F D, as in most models, and not 2 D F.

    Args:
      config: The model.
      layer: A layer of a tree, whose shapes decide. Without one, or where F = D, it is
        as in the published models.
    """
    if layer is not None:
        *_, rows, columns = layer["mlp"]["gating_einsum"].shape
        if rows != columns:
            return columns == config.embed_dim
    is_2b = config.family == "gemma2" and config.embed_dim == _GEMMA2_2B_WIDTH
    return config.family != "gemma" and not is_2b


def check(tree: Params, config: TransformerConfig) -> None:
    """Refuses a tree that is not one of 2024, of exactly this model.

    Raises:
      ValueError: A weight is missing, unknown or of another shape. Names it.
    """
    if set(tree) in ({"transformer"}, {"params"}):
        (root,) = tree
        raise ValueError(
            f"These params have one entry, {root!r}. Pass what is in it: "
            f"params[{root!r}]."
        )
    expected, found = _shapes_of(config), flatten(tree)
    if missing := [path for path in expected if path not in found]:
        raise ValueError(
            f"The params lack {missing[0]!r}, which a {config.family} of "
            f"{config.num_layers} layers has."
        )
    for path, leaf in found.items():
        if path not in expected:
            raise ValueError(
                f"The params have {path!r}, which is no weight of a {config.family} "
                f"of {config.num_layers} layers."
            )
        shape = expected[path]
        swapped = (shape[0], *shape[:0:-1]) if path.endswith(_GATING) else shape
        if tuple(leaf.shape) not in (shape, swapped):
            raise ValueError(
                f"{path!r} has shape {tuple(leaf.shape)}; the config asks for {shape}."
            )


@functools.lru_cache(maxsize=16)
def _shapes_of(config: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each weight, by its path."""
    ours = {
        path: jax.ShapeDtypeStruct(spec.shape, jnp.float32)
        for path, spec in flatten(Transformer(config).specs()).items()
    }
    tree = jax.eval_shape(lambda params: from_gm(params, config), unflatten(ours))
    return {path: leaf.shape for path, leaf in flatten(tree).items()}


def _layer_to_gm(tree: Params, layer: LayerConfig, transposed: bool) -> dict[str, Any]:
    gate, up = (
        matrix if transposed else matrix.T for matrix in tree["mlp"]["gating_einsum"]
    )
    return {
        "attn": _attention_to_gm(tree["attn"], layer),
        "mlp": {"gate": gate, "up": up, "down": tree["mlp"]["linear"].T},
        **{name: tree[name]["scale"] for name in _norms(layer)},
    }


def _attention_to_gm(tree: Params, layer: LayerConfig) -> dict[str, Array]:
    if layer.num_kv_heads == layer.num_heads:
        q, k, v = tree["qkv_einsum"]["w"]
    else:
        q, (k, v) = tree["q_einsum"]["w"], tree["kv_einsum"]["w"]
    heads = {name: w.transpose(0, 2, 1) for name, w in (("q", q), ("k", k), ("v", v))}
    norms = {name: tree[f"_{name}"]["scale"] for name in _head_norms(layer)}
    return heads | {"o": tree["attn_vec_einsum"]["w"].transpose(2, 0, 1)} | norms


def _attention_from_gm(params: Params, layer: LayerConfig) -> dict[str, Any]:
    q, k, v = (params[name].transpose(0, 2, 1) for name in "qkv")
    if layer.num_kv_heads == layer.num_heads:
        inputs = {"qkv_einsum": {"w": jnp.stack([q, k, v])}}
    else:
        inputs = {"q_einsum": {"w": q}, "kv_einsum": {"w": jnp.stack([k, v])}}
    return {
        **inputs,
        "attn_vec_einsum": {"w": params["o"].transpose(1, 2, 0)},
        **{f"_{name}": {"scale": params[name]} for name in _head_norms(layer)},
    }


def _norms(layer: LayerConfig) -> tuple[str, ...]:
    return (*_NORMS, *_POST_NORMS) if layer.post_norms else _NORMS


def _head_norms(layer: LayerConfig) -> tuple[str, ...]:
    return ("query_norm", "key_norm") if layer.qk_norm else ()
