"""The attention formula.

Axes: B batch, L query length, S key length, N query heads, K key/value heads,
G = N / K query heads to a key head, R = G * L rows, H head width.
"""

import functools
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from gemma.gm.math._activation import softcap as apply_softcap

# Finite, so that a query that sees nothing (padding) gives an average and not NaN.
_HIDDEN = -2.3819763e38


def dot_product_attention(
    q_BLNH: Float[Array, "B L N H"],
    keys: Sequence[Float[Array, "B K _ H"]],
    values: Sequence[Float[Array, "B K _ H"]],
    mask_BLS: Bool[Array, "B L S"],
    *,
    scale: float,
    softcap: float | None = None,
) -> tuple[Float[Array, "B L N H"], Float[Array, "B N L S"]]:
    """Returns `softmax(cap(q k^T * scale), masked) v` and the softmax weights.

    Query head n reads key head n // G. Scores and softmax are float32.

    Args:
      q_BLNH: Queries.
      keys: Keys, in one or several arrays that follow one another along S. Several
        arrays save the copy that would join a cache with what is new.
      values: Values, cut like the keys.
      mask_BLS: True where a query may look.
      scale: Factor on the scores.
      softcap: Cap on the scores, before the mask.

    Reference: Vaswani et al. 2017, "Attention Is All You Need"; Ainslie et al. 2023,
    "GQA".
    """
    B, L, N, H = q_BLNH.shape
    K = keys[0].shape[1]
    # The heads of a group and the queries become rows of one matrix product.
    q_BKRH = q_BLNH.reshape(B, L, K, N // K, H).transpose(0, 2, 3, 1, 4)
    q_BKRH = q_BKRH.reshape(B, K, -1, H)
    scores = [_scores(q_BKRH, k_BKSH) for k_BKSH in keys]
    score_BNLS = scale * jnp.concatenate(scores, axis=3).reshape(B, N, L, -1)
    if softcap is not None:
        score_BNLS = apply_softcap(score_BNLS, softcap)
    score_BNLS = jnp.where(mask_BLS[:, None, :, :], score_BNLS, _HIDDEN)
    weight_BNLS = jax.nn.softmax(score_BNLS, axis=-1)

    ends = np.cumsum([k_BKSH.shape[2] for k_BKSH in keys])
    weight_BKRS = weight_BNLS.reshape(B, K, -1, ends[-1])
    parts = jnp.split(weight_BKRS, ends[:-1], axis=3)
    out_BKRH = functools.reduce(operator.add, map(_average, parts, values))
    out_BLNH = out_BKRH.reshape(B, N, L, H).transpose(0, 2, 1, 3)
    return out_BLNH.astype(q_BLNH.dtype), weight_BNLS


def _scores(q_BKRH: Float[Array, "B K R H"], k_BKSH: Float[Array, "B K S H"]) -> Array:
    return jnp.einsum(
        "BKRH,BKSH->BKRS", q_BKRH, k_BKSH, preferred_element_type=jnp.float32
    )


def _average(w_BKRS: Float[Array, "B K R S"], v_BKSH: Float[Array, "B K S H"]) -> Array:
    return jnp.einsum(
        "BKRS,BKSH->BKRH",
        w_BKRS.astype(v_BKSH.dtype),
        v_BKSH,
        preferred_element_type=jnp.float32,
    )
