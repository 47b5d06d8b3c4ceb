"""Gated feed-forward layer: down(gelu(gate(x)) * up(x)).

Axes: B batch, L length, D model width, F hidden width.
Reference: Shazeer 2020, "GLU Variants Improve Transformer" (FFN_GEGLU).
"""

from jaxtyping import Array, Float

from gemma.gm.math import gelu
from gemma.gm.nn._config import LayerConfig
from gemma.gm.typing import Params
from gemma.gm.weights import ParamSpec, einsum, einsums


def feedforward_specs(config: LayerConfig) -> dict[str, ParamSpec]:
    """Returns the weights of the layer."""
    D, F = config.embed_dim, config.hidden_dim
    return {
        "gate": ParamSpec((F, D), axes=("hidden", "embed")),
        "up": ParamSpec((F, D), axes=("hidden", "embed")),
        "down": ParamSpec((D, F), axes=("embed", "hidden")),
    }


def feedforward(params: Params, x_BLD: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
    """Applies the layer to each position."""
    gate_BLF, up_BLF = einsums("BLD,FD->BLF", x_BLD, (params["gate"], params["up"]))
    return einsum("BLF,DF->BLD", gelu(gate_BLF) * up_BLF, params["down"])
