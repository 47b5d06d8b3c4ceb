"""One pass over tokens: what goes in and out, and the programs.

Programs are compiled for each shape that comes.

Axes: B batch, L length, D model width.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from gemma.gm import nn
from gemma.gm.typing import Cache, Params
from gemma.hf._arrays import to_ids, to_jax
from gemma.hf._config import PretrainedConfig
from gemma.hf._dynamic_cache import DynamicCache
from gemma.hf._square_masks import read_seen


class Wanted(NamedTuple):
    """What to return besides.

    Attributes:
      hidden_states: What each layer returns.
      attentions: Where it looked.
    """

    hidden_states: bool
    attentions: bool

    @classmethod
    def read(cls, config: PretrainedConfig, options: Mapping[str, Any]) -> "Wanted":
        names = "output_hidden_states", "output_attentions"
        if unknown := options.keys() - set(names):
            raise TypeError(f"A pass takes no {', '.join(map(repr, sorted(unknown)))}.")
        found = [options.get(name) for name in names]
        return cls(
            *(
                bool(getattr(config, name) if value is None else value)
                for name, value in zip(names, found, strict=True)
            )
        )


class Inputs(NamedTuple):
    """What goes in, as arrays of JAX.

    Attributes:
      tokens: [B, L].
      mask: False for padding, [B, L].
      positions: The places that `position_ids` say, [B, L].
      first_seen: Where the document begins that each token is of, as a column, [B, L].
      seen: Where each token looks, instead of all rules, [B, L, L].
      embeddings: [B, L, D].
      soft: What stands for soft tokens, where they stand, [B, L, D].
    """

    tokens: jax.Array
    mask: jax.Array | None
    positions: jax.Array | None
    first_seen: jax.Array | None
    embeddings: jax.Array | None
    soft: jax.Array | None = None
    seen: jax.Array | None = None


class Pass(NamedTuple):
    """What one pass over tokens gave, before any head.

    Attributes:
      features: What the decoder returned.
      past: Keys and values, if they are kept.
      soft: What stood for each image, if there were any.
    """

    features: nn.Features
    past: DynamicCache | Cache | None
    soft: jax.Array | None = None

    @property
    def besides(self) -> dict[str, Any]:
        """What an output has beside what its head says."""
        return {
            "past_key_values": self.past,
            "hidden_states": self.features.hidden_states,
            "attentions": self.features.attention_weights,
        }


def read_inputs(
    input_ids: Any,
    attention_mask: Any,
    position_ids: Any,
    inputs_embeds: Any,
    past: "DynamicCache | Cache | None",
) -> Inputs:
    if (input_ids is None) == (inputs_embeds is None):
        raise ValueError("Pass exactly one of input_ids and inputs_embeds.")
    embeddings, tokens = to_jax(inputs_embeds), to_ids(input_ids)
    if tokens is None:
        assert embeddings is not None
        tokens = jnp.zeros(embeddings.shape[:2], jnp.int32)
    if tokens.ndim != 2:
        raise ValueError(
            f"The input has shape {tokens.shape}; it needs an axis for the batch and one "
            "for the tokens."
        )
    B, L = tokens.shape
    mask = seen = None
    if getattr(attention_mask, "ndim", 0) == 4:
        seen = read_seen(attention_mask, B, L, has_past=past is not None)
    else:
        mask = _read_mask(attention_mask, B, L, has_past=past is not None)
    positions, first_seen = _read_positions(position_ids, B, L), None
    if positions is not None and attention_mask is None and past is None:
        first_seen = _begins_of_documents(positions)
    ids = tokens.astype(jnp.int32)
    return Inputs(ids, mask, positions, first_seen, embeddings, seen=seen)


def _read_mask(
    attention_mask: Any, num_rows: int, length: int, *, has_past: bool
) -> jax.Array | None:
    """Returns the mask of the tokens that come, without those before."""
    mask = to_jax(attention_mask)
    if mask is None:
        return None
    if mask.ndim != 2 or mask.shape[0] != num_rows or mask.shape[1] < length:
        raise ValueError(
            f"attention_mask has shape {mask.shape} for {num_rows} rows of {length} "
            "tokens; masks say of each token whether it is padding, 0, or not."
        )
    if mask.shape[1] > length and not has_past:
        raise ValueError(
            f"attention_mask has {mask.shape[1]} columns for {length} tokens. It may be "
            "longer only with past_key_values, whose tokens come first in it."
        )
    # Of the tokens before, the cache knows which were padding.
    return mask[:, -length:].astype(bool)


def _read_positions(position_ids: Any, num_rows: int, length: int) -> jax.Array | None:
    positions = to_jax(position_ids)
    if positions is None:
        return None
    if not jnp.issubdtype(positions.dtype, jnp.integer):
        raise TypeError(
            f"position_ids have dtype {positions.dtype}; whole numbers are needed."
        )
    if positions.shape not in ((length,), (1, length), (num_rows, length)):
        raise ValueError(
            f"position_ids have shape {positions.shape} for {num_rows} rows of {length} "
            "tokens; one is needed for each token."
        )
    return jnp.broadcast_to(positions, (num_rows, length)).astype(jnp.int32)


def _begins_of_documents(positions: jax.Array) -> jax.Array:
    """Returns the column in which the document of each token begins.

    As in transformers, a document ends where positions do not go up by one.
    """
    column = jnp.arange(positions.shape[1], dtype=jnp.int32)[None, :]
    steps = jnp.diff(positions, prepend=positions[:, :1], axis=1)
    return jax.lax.cummax(jnp.where(steps == 1, 0, column), axis=1)


@functools.partial(jax.jit, static_argnames=("model", "wanted"))
def run(
    model: nn.Transformer, params: Params, new: Inputs, *, wanted: Wanted
) -> nn.Features:
    """Returns what the decoder makes of whole sequences."""
    positions = None
    if new.positions is not None:
        # As in transformers, which tokens see which is a matter of columns.
        column = jnp.arange(new.tokens.shape[1], dtype=jnp.int32)
        positions = jnp.broadcast_to(column, new.tokens.shape)
    return model.features(
        {"params": params},
        new.tokens,
        positions=positions,
        rope_positions=new.positions,
        first_seen=new.first_seen,
        seen=new.seen,
        mask=new.mask,
        embeddings=new.embeddings,
        soft=new.soft,
        return_hidden_states=wanted.hidden_states,
        return_attention_weights=wanted.attentions,
    )


@functools.partial(jax.jit, static_argnames=("model", "wanted"))
def run_on(
    model: nn.Transformer, params: Params, new: Inputs, cache: Cache, *, wanted: Wanted
) -> nn.Features:
    """Returns what the decoder makes of tokens that follow those in a cache."""
    variables = {"params": params}
    options: dict[str, Any] = {
        "cache": cache,
        "embeddings": new.embeddings,
        "soft": new.soft,
        "return_hidden_states": wanted.hidden_states,
    }
    if new.mask is None or new.tokens.shape[1] == 1:
        return model.features(variables, new.tokens, mask=new.mask, **options)
    return nn.features_of_padded(model, variables, new.tokens, mask=new.mask, **options)


def require_following(
    positions: jax.Array | None, cache: Cache, mask: jax.Array | None
) -> None:
    """Refuses positions other than those after what the cache holds."""
    if positions is None:
        return
    if mask is None:
        mask = jnp.ones(positions.shape, bool)
    following = cache["end"][:, None] + jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1
    same = jnp.where(mask, positions == following, True).all()
    if isinstance(same, Tracer):
        raise ValueError(
            "position_ids are not looked at with a cache: leave them out, or pass use_cache=False."
        )
    if not same:
        raise ValueError(
            "position_ids do not go on after past_key_values, padding not counted. "
            "Leave them out: they are counted from the attention_mask. For several "
            "documents in a row, pass use_cache=False and no past_key_values."
        )
