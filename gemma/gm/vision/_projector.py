"""The projector: vectors of patches -> soft tokens of the text model.

Axes: P patches, T soft tokens, W width of the tower, D model width.
Reference: Gemma Team 2025, "Gemma 3 Technical Report", section 2 (vision encoder).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gemma.gm.math import rms_norm
from gemma.gm.typing import Params
from gemma.gm.vision._config import VisionConfig
from gemma.gm.weights import ParamSpec, einsum


def projector_specs(config: VisionConfig, text_dim: int) -> dict[str, ParamSpec]:
    """Returns a norm stored around zero and a matrix [D, W].

    Hugging Face stores the matrix [W, D].
    """
    W, D = config.embed_dim, text_dim
    return {
        "norm": ParamSpec((W,), axes=("vision",), init="zeros"),
        "weight": ParamSpec((D, W), axes=("embed", "vision")),
    }


def project(
    params: Params, config: VisionConfig, x_PW: Float[Array, "P W"]
) -> Float[Array, "T D"]:
    """Returns the soft tokens of an image, row by row.

    They stand where embeddings of tokens would, and are not scaled as those are.
    """
    x_TW = rms_norm(_pool(config, x_PW), params["norm"], eps=config.norm_eps)
    return einsum("TW,DW->TD", x_TW, params["weight"])


def _pool(config: VisionConfig, x_PW: Float[Array, "P W"]) -> Float[Array, "T W"]:
    """Returns the average of each square of neighbours."""
    side = config.tokens_per_side
    span = config.patches_per_side // side
    grid = x_PW.reshape(side, span, side, span, -1)
    return jnp.mean(grid, axis=(1, 3)).reshape(side**2, -1)
