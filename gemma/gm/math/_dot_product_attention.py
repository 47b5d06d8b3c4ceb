"""The attention formula.

Axes: B batch, L query length, S key length, N query heads, K key/value heads,
G = N / K query heads to a key head, H head width.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gemma.gm.math._activation import softcap as apply_softcap

# Finite, so that a query that sees nothing (padding) gives an average and not NaN.
_HIDDEN = -2.3819763e38


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
    B, L, N, H = q_BLNH.shape
    K, S = k_BKSH.shape[1:3]
    G = N // K
    # The heads of a group and the queries become rows of one matrix product.
    q_BKRH = q_BLNH.reshape(B, L, K, G, H).transpose(0, 2, 3, 1, 4).reshape(B, K, -1, H)
    score_BKRS = scale * jnp.einsum(
        "BKRH,BKSH->BKRS", q_BKRH, k_BKSH, preferred_element_type=jnp.float32
    )
    if softcap is not None:
        score_BKRS = apply_softcap(score_BKRS, softcap)
    score_BNLS = score_BKRS.reshape(B, N, L, S)
    score_BNLS = jnp.where(mask_BLS[:, None, :, :], score_BNLS, _HIDDEN)
    weight_BNLS = jax.nn.softmax(score_BNLS, axis=-1)
    weight_BKRS = weight_BNLS.reshape(B, K, G * L, S).astype(v_BKSH.dtype)
    out_BKRH = jnp.einsum("BKRS,BKSH->BKRH", weight_BKRS, v_BKSH)
    out_BLNH = out_BKRH.reshape(B, N, L, H).transpose(0, 2, 1, 3)
    return out_BLNH, weight_BNLS
