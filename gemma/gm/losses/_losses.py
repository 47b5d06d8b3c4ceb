"""Losses, all in float32 and averaged.

Axes: B batch, L length, V classes: tokens of a vocabulary or labels.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# The label of what does not count, as in PyTorch.
IGNORED = -100


def cross_entropy(
    logits: Float[Array, "*B V"],
    labels: Int[Array, "*B"],
    *,
    count: int | Float[Array, ""] | None = None,
) -> Float[Array, ""]:
    """Returns the mean of `-log p(label)`.

    Args:
      logits: Scores of the classes, of any float dtype.
      labels: The right classes; `IGNORED` for places that do not count.
      count: What the sum is divided by. By default the number of places that count;
        batches that are made in parts share the number of all parts. NaN without any.
    """
    counts = labels != IGNORED
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    chosen = jnp.where(counts, labels, 0)[..., None]
    losses = -jnp.take_along_axis(log_probs, chosen, axis=-1)[..., 0]
    total = jnp.sum(jnp.where(counts, losses, 0.0))
    number = jnp.sum(counts) if count is None else jnp.asarray(count)
    return total / number.astype(jnp.float32)


def next_token_cross_entropy(
    logits: Float[Array, "*B L V"],
    tokens: Int[Array, "*B L"],
    *,
    count: int | Float[Array, ""] | None = None,
) -> Float[Array, ""]:
    """Returns the loss of a language model: each place should say the next token.

    Args:
      logits: What it said.
      tokens: What it was given; `IGNORED` where the token need not be foreseen.
      count: See `cross_entropy`.
    """
    return cross_entropy(logits[..., :-1, :], tokens[..., 1:], count=count)


def squared_error(
    found: Float[Array, "*B"], expected: Float[Array, "*B"]
) -> Float[Array, ""]:
    """Returns the mean of the squared differences."""
    return jnp.mean((found.astype(jnp.float32) - expected) ** 2)


def binary_cross_entropy(
    logits: Float[Array, "*B V"], labels: Float[Array, "*B V"]
) -> Float[Array, ""]:
    """Returns the mean loss of classes of which any number may be right.

    Args:
      logits: Scores of the classes.
      labels: How right each class is, 0 to 1.
    """
    x = logits.astype(jnp.float32)
    # log(1 + exp(x)) - x y, where exp would be infinite too.
    return jnp.mean(jax.nn.softplus(x) - x * labels)
