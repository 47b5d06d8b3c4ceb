"""The attention formula.

Axes: B batch, L query length, S key length, N query heads, K key/value heads,
G = N / K query heads to a key head, H head width, R = G * L rows.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gemma.gm.math._activation import softcap as apply_softcap

# Finite, so that a query that sees nothing (padding) gives an average and not NaN.
HIDDEN = -2.3819763e38


def dot_product_attention(
    q_BLNH: Float[Array, "B L N H"],
    k_BKSH: Float[Array, "B K S H"],
    v_BKSH: Float[Array, "B K S H"],
    mask_BLS: Bool[Array, "B L S"],
    *,
    scale: float,
    softcap: float | None = None,
) -> tuple[Float[Array, "B L N H"], Float[Array, "B N L S"]]:
    """Returns `softmax(cap(q k^T * scale), masked) v` and the softmax weights.

    Query head n reads key head n // G. Scores and softmax are float32.

    Reference: Vaswani et al. 2017, "Attention Is All You Need"; Ainslie et al. 2023,
    "GQA".
    """
    B, L, N, _ = q_BLNH.shape
    K, S = k_BKSH.shape[1:3]
    score_BKRS = scale * jnp.einsum(
        "BKRH,BKSH->BKRS",
        group_queries(q_BLNH, K),
        k_BKSH,
        preferred_element_type=jnp.float32,
    )
    if softcap is not None:
        score_BKRS = apply_softcap(score_BKRS, softcap)
    score_BNLS = score_BKRS.reshape(B, N, L, S)
    weight_BNLS = jax.nn.softmax(jnp.where(mask_BLS[:, None], score_BNLS, HIDDEN))
    weight_BKRS = weight_BNLS.reshape(B, K, -1, S).astype(v_BKSH.dtype)
    out_BKRH = jnp.einsum("BKRS,BKSH->BKRH", weight_BKRS, v_BKSH)
    return ungroup(out_BKRH, N, L), weight_BNLS


def group_queries(
    q_BLNH: Float[Array, "B L N H"], num_kv_heads: int
) -> Float[Array, "B K R H"]:
    """Returns all queries of a key head as the rows of one matrix."""
    B, L, N, H = q_BLNH.shape
    q_BLKGH = q_BLNH.reshape(B, L, num_kv_heads, N // num_kv_heads, H)
    return q_BLKGH.transpose(0, 2, 3, 1, 4).reshape(B, num_kv_heads, -1, H)


def ungroup(
    x_BKRH: Float[Array, "B K R H"], num_heads: int, length: int
) -> Float[Array, "B L N H"]:
    """Returns the rows in the order of the queries; undoes `group_queries`."""
    B, _, _, H = x_BKRH.shape
    return x_BKRH.reshape(B, num_heads, length, H).transpose(0, 2, 1, 3)
