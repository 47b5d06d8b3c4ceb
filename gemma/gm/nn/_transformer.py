"""The decoder: one for the whole family, driven by its config.

Axes: B batch, L length, S keys, D model width, N query heads, V vocabulary,
W words of 32 of its bits.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8, UInt32

from gemma.gm import kernels
from gemma.gm.kernels import Screen, Shortlist, rms_norm
from gemma.gm.math import RopeTable, ends_of_runs, rope_table
from gemma.gm.nn._batches import (
    mask_of_attention,
    with_axes_of_rows,
    with_one_axis_of_rows,
)
from gemma.gm.nn._block import block, block_specs
from gemma.gm.nn._cache import NewTokens, init_cache
from gemma.gm.nn._config import LayerConfig, TransformerConfig
from gemma.gm.nn._embedder import (
    embed,
    embedder_specs,
    unembed,
    unembed_largest,
)
from gemma.gm.nn._explicit_axes import on_any_mesh
from gemma.gm.nn._outputs import Features, Output
from gemma.gm.nn._soft_tokens import soft_token, spread
from gemma.gm.nn._variables import check_dtype, params_of
from gemma.gm.typing import Cache, DType, Params
from gemma.gm.vision import soft_tokens, vision_specs
from gemma.gm.weights import ParamSpec, QuantizedArray, init_params, is_narrow

# The padding token of every Gemma.
_PAD = 0
# Traced once for each kind of layer and not for each layer, which makes a start on an
# 18-layer model half a second faster. XLA inlines the calls.
_block = jax.jit(block, static_argnames=("config", "return_weights"))


@dataclasses.dataclass(frozen=True, slots=True)
class Transformer:
    """A model without its weights: pure functions of a config.

    Attributes:
      config: The shape.
      dtype: Dtype of activations. If None, that of the embedding table, but float32
        for a table of 16 bits on a CPU with kernels.
      checkpoint: Where the weights came from, if they came from disk: samplers find
        the tokenizer there.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from gemma import gm
      >>> model = gm.nn.Transformer(gm.nn.gemma3_config(
      ...     num_layers=2, embed_dim=16, hidden_dim=32, num_heads=2, num_kv_heads=1,
      ...     head_dim=8, vocab_size=50))
      >>> params = model.init(jax.random.key(0))
      >>> model.apply({"params": params}, jnp.array([[2, 7, 9]])).logits.shape
      (1, 3, 50)
    """

    config: TransformerConfig
    dtype: DType | None = None
    checkpoint: Path | None = dataclasses.field(default=None, compare=False)

    def specs(self) -> dict[str, object]:
        """Returns the tree of `ParamSpec` that the params must fit."""
        config = self.config
        layers = {f"layer_{i}": block_specs(c) for i, c in enumerate(config.layers)}
        norm = ParamSpec((config.embed_dim,), axes=("embed",), init="zeros")
        text: dict[str, object] = {
            "embedder": embedder_specs(config),
            **layers,
            "final_norm": norm,
        }
        if config.vision is not None:
            text["vision"] = vision_specs(config.vision, config.embed_dim)
        return text

    def init(self, key: jax.Array, dtype: DType = jnp.float32) -> Params:
        """Returns random params of a float dtype."""
        check_dtype(dtype)
        return init_params(self.specs(), key, dtype)

    def activation_dtype(self, params: Params) -> DType:
        """Returns the dtype of the residual stream."""
        if self.dtype is not None:
            return self.dtype
        table_dtype = params["embedder"]["input_embedding"].dtype
        # CPUs compute in float32: only weights, which memory is waited for, are narrow.
        if is_narrow(table_dtype) and _has_kernels():
            return jnp.float32
        return table_dtype

    def cache_dtype(self, params: Params) -> DType:
        """Returns the dtype that keys and values are kept in.

        It is that of the activations, but float16 where a CPU computes in float32 with
        weights that are not: long contexts are read in half the time. The error, 2^-12
        of a number, is far below that of the weights; numbers above 65,504 become that.
        """
        dtype = self.activation_dtype(params)
        table = params["embedder"]["input_embedding"]
        is_rounded = isinstance(table, QuantizedArray) or is_narrow(table.dtype)
        if (
            self.dtype is None
            and is_rounded
            and dtype == jnp.float32
            and _has_kernels()
        ):
            return jnp.float16
        return dtype

    def init_cache(
        self,
        *,
        batch_size: int,
        cache_length: int,
        rewind_length: int = 0,
        dtype: DType = jnp.float32,
    ) -> Cache:
        """Returns an empty key/value cache.

        Args:
          batch_size: Rows.
          cache_length: The most tokens a sequence may have. Sliding layers keep their
            window only.
          rewind_length: How many tokens can be taken back from them; see
            `can_rewind`.
          dtype: Dtype of keys and values.
        """
        return init_cache(
            self.config,
            batch_size=batch_size,
            cache_length=cache_length,
            rewind_length=rewind_length,
            dtype=dtype,
        )

    @on_any_mesh
    def see(
        self, variables: Params, images: UInt8[Array, "I S S 3"]
    ) -> Float[Array, "I T D"]:
        """Returns what stands for each image among the embeddings of a prompt.

        Args:
          variables: `{"params": params}`.
          images: Pixels, as `vision.prepare_image` returns them.

        Raises:
          ValueError: The model has no eyes, or the images have another size.
        """
        if self.config.vision is None:
            raise ValueError("The model has no eyes: it reads text only.")
        params = params_of(variables, "see")
        return soft_tokens(params["vision"], self.config.vision, images)

    @on_any_mesh
    def embed(
        self, variables: Params, tokens: Int[Array, "*B"]
    ) -> Float[Array, "*B D"]:
        """Returns what tokens are to the first layer: their rows of the table, scaled.

        Args:
          variables: `{"params": params}`.
          tokens: Token ids.
        """
        params = params_of(variables, "embed")
        dtype = self.activation_dtype(params)
        return embed(params["embedder"], tokens, dtype=dtype)

    @on_any_mesh
    def apply(
        self,
        variables: Params,
        tokens: Int[Array, "*B L"],
        *,
        images: UInt8[Array, "I S S 3"] | None = None,
        return_last_only: bool = False,
        attention_mask: Bool[Array, "..."] | Int[Array, "..."] | None = None,
        **options: Any,
    ) -> Output:
        """Runs the model over tokens, to the logits.

        The logits of a whole prompt take 4 V bytes a token: 1 MB a token with 262,144
        entries. `last_only` leaves all but one of each row out.

        Args:
          variables: `{"params": params}`.
          tokens: Token ids of one text, or of several with any leading axes, which the
            output then has too; a cache has one axis of rows for all of them. For each
            image they have the soft token of the config, as often as an image has soft
            tokens.
          images: Pixels of all images, in the order in which the tokens name them.
          return_last_only: As in DeepMind's library: `last_only`, and tokens of id 0 are
            padding if no mask is given.
          attention_mask: Instead of `mask`: [*B, L], True for tokens; or [*B, L, L], if
            it is causal but for padding. Others are refused.
          **options: See `features`, with the leading axes of the tokens.
        """
        params_of(variables, "apply")
        if attention_mask is not None:
            options["mask"] = mask_of_attention(attention_mask, options, tokens)
        tokens, options, lead = with_one_axis_of_rows(tokens, options)
        if return_last_only:
            options = {"mask": tokens != _PAD, **options, "last_only": True}
        if images is not None:
            soft = self.see(variables, images)
            options["soft"] = spread(soft, tokens == soft_token(self.config))
        found = self.features(variables, tokens, **options)
        output = Output(self.logits(variables, found.x), *found[1:])
        return output if len(lead) == 1 else with_axes_of_rows(output, lead)

    @on_any_mesh
    def features(
        self,
        variables: Params,
        tokens: Int[Array, "B L"],
        *,
        positions: Int[Array, "B L"] | None = None,
        rope_positions: Int[Array, "B L"] | None = None,
        first_seen: Int[Array, "B L"] | None = None,
        seen: Bool[Array, "B L L"] | None = None,
        mask: Bool[Array, "B L"] | None = None,
        cache: Cache | None = None,
        embeddings: Float[Array, "B L D"] | None = None,
        soft: Float[Array, "B L D"] | None = None,
        last_only: bool = False,
        return_hidden_states: bool = False,
        return_attention_weights: bool = False,
    ) -> Features:
        """Runs the model over tokens, to the vectors from which logits are made.

        Args:
          variables: `{"params": params}`.
          tokens: Token ids.
          positions: Place of each token in its sequence. By default tokens follow what
            the cache holds, padding not counted. With a cache they must do so.
          rope_positions: Other places to rotate by; not with a cache.
          first_seen: The first place each token looks at; not with a cache.
          seen: True where a token looks at another, on all layers and instead of all
            rules; not with a cache.
          mask: False for padding, which nothing sees. With a cache, padding comes last.
          cache: Keys and values of the tokens before; must have room for these.
          embeddings: Vectors in place of those of the tokens, which then tell the
            soft tokens only; see `embed`.
          soft: Vectors that take the place of soft tokens; others are not looked at.
            Soft tokens that follow one another see one another: an image is whole.
          last_only: Return each row's last real token only.
          return_hidden_states: Also return the residual stream.
          return_attention_weights: Also return where each layer looked.
        """
        only_whole = rope_positions, first_seen, seen
        if cache is not None and any(entry is not None for entry in only_whole):
            raise ValueError(
                "A cache goes without rope_positions, first_seen and seen."
            )
        params, config = params_of(variables, "apply"), self.config
        dtype = self.activation_dtype(params)
        new = _place(tokens, positions, mask, cache)
        new = new._replace(first_seen=first_seen, seen=seen)
        ropes = _ropes(config.layers, rope_positions, default=new.positions)

        if embeddings is None:
            embeddings = self.embed(variables, tokens)
        x_BLD = embeddings.astype(dtype)
        if soft is not None:
            is_soft = tokens == soft_token(config)
            x_BLD = jnp.where(is_soft[:, :, None], soft.astype(dtype), x_BLD)
            last_seen = ends_of_runs(new.positions, is_soft & new.valid)
            new = new._replace(last_seen=last_seen)
        hidden, weights = [x_BLD], []
        new_cache: Cache = {"end": new.end}
        for i, layer in enumerate(config.layers):
            name = f"layer_{i}"
            with jax.named_scope(name):
                out = _block(
                    params[name],
                    layer,
                    x_BLD,
                    rope=ropes[layer.rope, layer.head_dim],
                    new=new,
                    cache=None if cache is None else cache[name],
                    return_weights=return_attention_weights,
                )
            x_BLD, new_cache[name] = out.x, out.cache
            hidden.append(x_BLD)
            weights.append(out.weights)

        x_BLD = rms_norm(x_BLD, params["final_norm"], eps=config.norm_eps)
        hidden[-1] = x_BLD
        return Features(
            x=_last_valid(x_BLD, new.valid) if last_only else x_BLD,
            cache=None if cache is None else new_cache,
            hidden_states=tuple(hidden) if return_hidden_states else None,
            attention_weights=tuple(weights) if return_attention_weights else None,
        )

    @on_any_mesh
    def logits(
        self, variables: Params, x: Float[Array, "*B D"]
    ) -> Float[Array, "*B V"]:
        """Returns the logits of vectors that `features` made, in float32."""
        return unembed(variables["params"]["embedder"], self.config, x)

    @on_any_mesh
    def largest_logits(
        self,
        variables: Params,
        x: Float[Array, "B D"],
        screen: Screen,
        *,
        allowed: UInt32[Array, "B W"],
        wanted: Int[Array, "B"],
        capacity: int,
    ) -> Shortlist:
        """Returns the largest logits, those of `logits`, without computing them all.

        Args:
          variables: `{"params": params}`, with a packed embedding table.
          x: Vectors that `features` made.
          screen: The outline of the table.
          allowed: Which tokens may come, a bit each: see `math.unpack_bits`.
          wanted: How many of each row, 1 to `capacity`.
          capacity: The most that are returned.
        """
        return unembed_largest(
            variables["params"]["embedder"],
            self.config,
            x,
            screen,
            allowed=allowed,
            wanted=wanted,
            capacity=capacity,
        )


def _place(
    tokens: Int[Array, "B L"],
    positions: Int[Array, "B L"] | None,
    mask: Bool[Array, "B L"] | None,
    cache: Cache | None,
) -> NewTokens:
    """Says where the tokens stand: after the cache, padding not counted."""
    B, L = tokens.shape
    valid = jnp.ones([B, L], bool) if mask is None else mask
    begin = jnp.zeros([B], jnp.int32) if cache is None else cache["end"]
    count = jnp.cumsum(valid, axis=1, dtype=jnp.int32)
    following = begin[:, None] + jnp.maximum(count - 1, 0)
    places = following if positions is None else positions.astype(jnp.int32)
    return NewTokens(
        positions=places,
        last_seen=places,
        valid=valid,
        begin=begin,
        end=begin + count[:, -1],
    )


def _has_kernels() -> bool:
    return kernels.available() and jax.default_backend() == "cpu"


def _ropes(
    layers: tuple[LayerConfig, ...], at: Int[Array, "B L"] | None, *, default: Any
) -> dict[tuple, RopeTable]:
    """Returns one table for each kind of layer, not for each layer."""
    positions = default if at is None else at
    kinds = {(layer.rope, layer.head_dim) for layer in layers}
    return {
        (rope, dim): rope_table(
            positions, head_dim=dim, theta=rope.theta, factor=rope.factor
        )
        for rope, dim in kinds
    }


def _last_valid(
    x_BLD: Float[Array, "B L D"], valid: Bool[Array, "B L"]
) -> Float[Array, "B D"]:
    """Returns each row's vector at its last real token."""
    place = jnp.arange(valid.shape[1], dtype=jnp.int32)
    last = jnp.max(jnp.where(valid, place, 0), axis=1)
    return jnp.take_along_axis(x_BLD, last[:, None, None], axis=1)[:, 0]
