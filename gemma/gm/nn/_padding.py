"""Padding wherever it stands: caches want it last.

Axes: B batch, L length, D model width.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gemma.gm.nn._transformer import Features, Transformer
from gemma.gm.typing import Cache, Params


def features_of_padded(
    model: Transformer,
    variables: Params,
    tokens: Int[Array, "B L"],
    *,
    mask: Bool[Array, "B L"],
    cache: Cache,
    embeddings: Float[Array, "B L D"] | None = None,
    soft: Float[Array, "B L D"] | None = None,
    **options: Any,
) -> Features:
    """Does what `Transformer.features` does with a cache, and padding in any place.

    Args:
      model: The model.
      variables: `{"params": params}`.
      tokens: Token ids.
      mask: False for padding, which does not enter the cache.
      cache: Keys and values of the tokens before; must have room for these.
      embeddings: See `Transformer.features`.
      soft: See there.
      **options: See `Transformer.features`; no attention weights.
    """
    order = jnp.argsort(~mask, axis=1, stable=True)

    def sort(x: Float[Array, "B L D"] | None) -> Float[Array, "B L D"] | None:
        return None if x is None else jnp.take_along_axis(x, order[:, :, None], axis=1)

    found = model.features(
        variables,
        jnp.take_along_axis(tokens, order, axis=1),
        mask=jnp.take_along_axis(mask, order, axis=1),
        cache=cache,
        embeddings=sort(embeddings),
        soft=sort(soft),
        **options,
    )
    back = jnp.argsort(order, axis=1)[:, :, None]

    def put_back(x: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
        return jnp.take_along_axis(x, back, axis=1)

    hidden = found.hidden_states
    return found._replace(
        x=put_back(found.x), hidden_states=hidden and tuple(map(put_back, hidden))
    )
