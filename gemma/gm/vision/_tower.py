"""The tower: SigLIP, a Transformer over the patches of one image.

Everything is float32. Each patch looks at every other; nothing is masked.

Axes: C colours, Y rows and X columns of a patch, P patches, W width of the tower,
N heads, H head width, F hidden width, B patches of a block.
Reference: Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training"; Dosovitskiy
et al. 2021, "An Image is Worth 16x16 Words".
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from gemma.gm.math import gelu, layer_norm
from gemma.gm.typing import Params
from gemma.gm.vision._config import VisionConfig
from gemma.gm.weights import ParamSpec, einsum, num_out_axes

# All scores of 4096 patches and 16 heads would be a gigabyte; those of 256 are 64 MB.
_MAX_BLOCK = 256


def tower_specs(config: VisionConfig) -> dict[str, Any]:
    """Returns the weights of the tower.

    The kernel of the patches is stored [W, C, Y, X], as checkpoints store it.
    """
    W, size = config.embed_dim, config.patch_size
    layer = {
        "attn_norm": _norm_specs(config),
        "attn": _attention_specs(config),
        "mlp_norm": _norm_specs(config),
        "mlp": _feedforward_specs(config),
    }
    return {
        "patch_embedding": {
            "kernel": ParamSpec(
                (W, 3, size, size), axes=("vision", "color", "row", "column")
            ),
            "bias": ParamSpec((W,), axes=("vision",), init="zeros"),
        },
        "position_embedding": ParamSpec(
            (config.num_patches, W), axes=("patch", "vision")
        ),
        **{f"layer_{i}": layer for i in range(config.num_layers)},
        "final_norm": _norm_specs(config),
    }


def _norm_specs(config: VisionConfig) -> dict[str, ParamSpec]:
    shape, axes = (config.embed_dim,), ("vision",)
    return {
        "scale": ParamSpec(shape, axes=axes, init="ones"),
        "bias": ParamSpec(shape, axes=axes, init="zeros"),
    }


def _attention_specs(config: VisionConfig) -> dict[str, ParamSpec]:
    W, N, H = config.embed_dim, config.num_heads, config.head_dim
    head = ParamSpec((N, H, W), axes=("heads", "head", "vision"))
    out = ParamSpec((W, N, H), axes=("vision", "heads", "head"))
    return _with_biases({"q": head, "k": head, "v": head, "o": out})


def _feedforward_specs(config: VisionConfig) -> dict[str, ParamSpec]:
    W, F = config.embed_dim, config.hidden_dim
    up = ParamSpec((F, W), axes=("hidden", "vision"))
    down = ParamSpec((W, F), axes=("vision", "hidden"))
    return _with_biases({"up": up, "down": down})


def _with_biases(matrices: dict[str, ParamSpec]) -> dict[str, ParamSpec]:
    """Returns matrices, each followed by what is added to its outputs."""
    specs = {}
    for name, spec in matrices.items():
        num_out = num_out_axes(name)
        specs[name] = spec
        specs[f"{name}_bias"] = ParamSpec(
            spec.shape[:num_out], axes=spec.axes[:num_out], init="zeros"
        )
    return specs


def tower(
    params: Params,
    config: VisionConfig,
    image: Real[Array, "S S 3"],
) -> Float[Array, "P W"]:
    """Returns a vector for each patch of the image, row by row."""
    x_PW = _embed_patches(params, config, image)
    for i in range(config.num_layers):
        x_PW = _layer(params[f"layer_{i}"], config, x_PW)
    return _norm(params["final_norm"], config, x_PW)


def _embed_patches(
    params: Params,
    config: VisionConfig,
    image: Real[Array, "S S 3"],
) -> Float[Array, "P W"]:
    """Cuts the image into patches and gives each its vector and that of its place."""
    side, size = config.patches_per_side, config.patch_size
    pixels = image.astype(jnp.float32)
    if image.dtype == jnp.uint8:
        # Mean and deviation of the published preprocessing: [0, 255] becomes [-1, 1].
        pixels = (pixels / 255 - 0.5) / 0.5
    grid = pixels.reshape(side, size, side, size, 3).transpose(0, 2, 4, 1, 3)
    x_PCYX = grid.reshape(-1, 3, size, size)
    weights = params["patch_embedding"]
    x_PW = einsum("PCYX,WCYX->PW", x_PCYX, weights["kernel"])
    x_PW += weights["bias"].astype(jnp.float32)[None]
    return x_PW + params["position_embedding"].astype(jnp.float32)


def _layer(
    params: Params, config: VisionConfig, x_PW: Float[Array, "P W"]
) -> Float[Array, "P W"]:
    x_PW += _attention(params["attn"], config, _norm(params["attn_norm"], config, x_PW))

    def feed(x_BW: Float[Array, "B W"]) -> Float[Array, "B W"]:
        normed_BW = _norm(params["mlp_norm"], config, x_BW)
        return x_BW + _feedforward(params["mlp"], normed_BW)

    return _in_blocks(feed, x_PW)


def _norm(
    params: Params, config: VisionConfig, x_PW: Float[Array, "P W"]
) -> Float[Array, "P W"]:
    return layer_norm(x_PW, params["scale"], params["bias"], eps=config.norm_eps)


def _attention(
    params: Params, config: VisionConfig, x_PW: Float[Array, "P W"]
) -> Float[Array, "P W"]:
    """Lets each patch look at all patches."""
    q_PNH, k_PNH, v_PNH = (
        _linear("PW,NHW->PNH", x_PW, params, name) for name in ("q", "k", "v")
    )
    q_PNH *= config.head_dim**-0.5
    k_NPH, v_NPH = k_PNH.transpose(1, 0, 2), v_PNH.transpose(1, 0, 2)

    def look(q_BNH: Float[Array, "B N H"]) -> Float[Array, "B N H"]:
        score_NBP = jnp.einsum("BNH,NPH->NBP", q_BNH, k_NPH)
        return jnp.einsum("NBP,NPH->BNH", jax.nn.softmax(score_NBP), v_NPH)

    out_PNH = _in_blocks(look, q_PNH)
    return _linear("PNH,WNH->PW", out_PNH, params, "o")


def _feedforward(params: Params, x_BW: Float[Array, "B W"]) -> Float[Array, "B W"]:
    hidden_BF = gelu(_linear("BW,FW->BF", x_BW, params, "up"))
    return _linear("BF,WF->BW", hidden_BF, params, "down")


def _in_blocks(
    f: Callable[[Float[Array, "B ..."]], Float[Array, "B ..."]],
    x_P: Float[Array, "P ..."],
) -> Float[Array, "P ..."]:
    """Returns `f` of some patches at a time, which takes the place of its argument.

    So memory holds what `f` needs for a block, and no second array of results: XLA
    would make those of all layers in advance.
    """
    num_patches = x_P.shape[0]
    size = max(n for n in range(1, _MAX_BLOCK + 1) if num_patches % n == 0)

    def step(i: Array, x_P: Float[Array, "P ..."]) -> Float[Array, "P ..."]:
        block = jax.lax.dynamic_slice_in_dim(x_P, i * size, size)
        return jax.lax.dynamic_update_slice_in_dim(x_P, f(block), i * size, axis=0)

    return jax.lax.fori_loop(0, num_patches // size, step, x_P)


def _linear(
    spec: str, x: Float[Array, "P ..."], params: Params, name: str
) -> Float[Array, "P ..."]:
    """Returns the product with a matrix, plus its bias."""
    bias = params[f"{name}_bias"].astype(jnp.float32)
    return einsum(spec, x, params[name]) + bias[None]
