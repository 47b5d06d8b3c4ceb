"""The models of the API of 2024: `TransformerConfig` and `Transformer`.

As of the releases of February to October 2024, for programs and notebooks that use
them; what is new is in `gemma.gm.nn`. Params are the tree of that time, all computing
is `gm.nn.Transformer`'s.

Example:
  ```python
  params = params_lib.load_and_format_params(path)
  config = TransformerConfig.from_params(params, cache_size=1024)
  mask = tokens != pad_id
  logits, _ = Transformer(config).apply(
      {"params": params["transformer"]},
      tokens,
      build_positions_from_mask(mask),
      None,
      make_causal_attn_mask(mask),
  )
  ```

Axes: B batch, L length, S slots of the cache, V vocabulary.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from gemma._config_2024 import TransformerConfig, init_cache
from gemma.gm import ckpts, nn
from gemma.gm._lazy import lazily
from gemma.gm.typing import Cache, DType, Params

__getattr__ = lazily(__name__)

__all__ = [
    "Transformer",
    "TransformerConfig",
    "build_positions_from_mask",
    "init_cache",
    "make_causal_attn_mask",
    "make_causal_with_prefix_attn_mask",
]


def make_causal_attn_mask(input_mask: Bool[Array, "B L"]) -> Bool[Array, "B L L"]:
    """Returns who sees whom: each token itself and the tokens before it.

    Args:
      input_mask: False for padding, which nobody sees.
    """
    if input_mask.ndim != 2:
        raise ValueError(
            f"The input mask has shape {tuple(input_mask.shape)}; it needs two axes, "
            "batch and length."
        )
    causal = jnp.tri(input_mask.shape[1], dtype=bool)
    return input_mask.astype(bool)[:, None, :] & causal[None, :, :]


def make_causal_with_prefix_attn_mask(
    input_mask: Bool[Array, "B L"], prefix_mask: Bool[Array, "B L"]
) -> Bool[Array, "B L L"]:
    """Returns the causal mask with a prefix that all tokens of its row attend to.

    `Transformer.apply` takes causal masks only and refuses this one by name of the
    entry; it is for code that computes attention itself.

    Args:
      input_mask: False for padding, which nothing attends to.
      prefix_mask: True for the tokens of the prefix.
    """
    causal = make_causal_attn_mask(input_mask)
    if prefix_mask.shape != input_mask.shape:
        raise ValueError(
            f"The prefix mask has shape {tuple(prefix_mask.shape)}; it needs "
            f"{tuple(input_mask.shape)}, as the input mask has."
        )
    prefix = prefix_mask.astype(bool) & input_mask.astype(bool)
    return causal | prefix[:, None, :]


def build_positions_from_mask(input_mask: Bool[Array, "B L"]) -> Int[Array, "B L"]:
    """Returns the place of each token among the tokens of its row, padding not counted.

    Padding has the place of the token before it, or 0.
    """
    count = jnp.cumsum(input_mask, axis=-1, dtype=jnp.int32)
    return jnp.maximum(count - 1, 0)


class Transformer:
    """A model without its weights; `apply` and `init` are pure functions.

    Attributes:
      config: The sizes.
    """

    def __init__(self, config: TransformerConfig):
        self.config = config

    def __repr__(self) -> str:
        return f"Transformer({self.config!r})"

    def init(
        self,
        rng: Array,
        last_tokens: Int[Array, "B L"],
        positions: Int[Array, "B L"],
        cache: Cache | None,
        attention_mask: Bool[Array, "B L S"],
    ) -> dict[str, Any]:
        """Returns `{"params": tree}` with random weights in float32.

        Args:
          rng: A key.
          last_tokens: As for `apply`; of it and the rest, the shapes only.
          positions: As for `apply`.
          cache: As for `apply`.
          attention_mask: As for `apply`.
        """
        _check_shapes(last_tokens, positions, cache, attention_mask)
        params = nn.Transformer(self.config.gm).init(rng)
        return {"params": ckpts.to_deepmind(params, self.config.gm)}

    def init_cache(self, batch_size: int, dtype: DType = jnp.bfloat16) -> Cache:
        """Returns an empty cache for a batch; see `init_cache`."""
        return init_cache(self.config, batch_size, dtype)

    def apply(
        self,
        variables: Params,
        last_tokens: Int[Array, "B L"],
        positions: Int[Array, "B L"],
        cache: Cache | None,
        attention_mask: Bool[Array, "B L S"],
    ) -> tuple[Float[Array, "B L V"], Cache | None]:
        """Returns the logits after each token, in float32, and the cache with them.

        The mask says which of the tokens are padding, on its diagonal; for the rest it
        must be what `make_causal_attn_mask` makes: each token sees itself and all tokens
        before it, and padding may see anything. Positions grow from token to token;
        with a cache they count the tokens of the row, from 0. With other masks or
        positions this call raises ValueError. Under `jax.jit` nobody can look at them,
        and the logits of such a row are NaN.

        Args:
          variables: `{"params": tree}`, with the tree of 2024.
          last_tokens: Token ids.
          positions: Place of each token in its row.
          cache: What `init_cache` or an earlier call returned, or None.
          attention_mask: [B, L, L]; with a cache [B, L, S] over its columns, of which
            this call takes the next L.

        Raises:
          ValueError: Shapes, masks or positions do not fit.
        """
        ckpts.check_deepmind(variables["params"], self.config.gm)
        _check_shapes(last_tokens, positions, cache, attention_mask)
        seen = _read_mask(positions, cache, attention_mask.astype(bool))
        if not isinstance(seen.is_supported, Tracer):
            _require_supported(seen, cache)
        # A program of its own: XLA would choose other routines for products with weights
        # that are transposed in the same one, and round otherwise than `gm.nn` does.
        params = _to_gm(variables["params"], self.config.gm)
        return _apply(self.config.gm, params, last_tokens, positions, cache, seen)


class _Seen(NamedTuple):
    """What a mask says.

    Attributes:
      valid: Which of the new columns are tokens.
      is_token: The same for all columns, with a cache.
      is_supported: Rows that this module can do.
    """

    valid: Bool[Array, "B L"]
    is_token: Bool[Array, "B S"]
    is_supported: Bool[Array, "B"]


@jax.jit
def _read_mask(
    positions: Int[Array, "B L"],
    cache: Cache | None,
    attention_mask: Bool[Array, "B L S"],
) -> _Seen:
    B, L, S = attention_mask.shape
    begin = jnp.int32(0) if cache is None else cache["num_columns"]
    is_token = jnp.zeros([B, S], bool) if cache is None else cache["is_token"]
    columns = begin + jnp.arange(L, dtype=jnp.int32)
    valid = attention_mask.at[:, jnp.arange(L), columns].get(
        mode="fill", fill_value=False
    )
    is_token = is_token.at[:, columns].set(valid, mode="drop")
    causal = jnp.arange(S)[None, :] <= columns[:, None]
    expected = is_token[:, None, :] & causal[None, :, :]
    is_seen = (attention_mask == expected) | ~valid[:, :, None]
    is_placed = _are_placed(positions, valid, cache)
    is_supported = jnp.all(is_seen, axis=(1, 2)) & is_placed & (begin + L <= S)
    return _Seen(valid, is_token, is_supported)


def _are_placed(
    positions: Int[Array, "B L"], valid: Bool[Array, "B L"], cache: Cache | None
) -> Bool[Array, "B"]:
    """Returns which rows have positions that grow, and follow what is in the cache."""
    if cache is not None:
        places = cache["end"][:, None] + build_positions_from_mask(valid)
        return jnp.all((positions == places) | ~valid, axis=1)
    highest = jax.lax.cummax(jnp.where(valid, positions, -1), axis=1)
    before = jnp.pad(highest[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    return jnp.all((positions > before) | ~valid, axis=1)


_to_gm = jax.jit(ckpts.from_deepmind, static_argnums=1)


@functools.partial(jax.jit, static_argnums=0)
def _apply(
    config: nn.TransformerConfig,
    params: Params,
    tokens: Int[Array, "B L"],
    positions: Int[Array, "B L"],
    cache: Cache | None,
    seen: _Seen,
) -> tuple[Float[Array, "B L V"], Cache | None]:
    model = nn.Transformer(config)
    ours = {"params": params}
    if cache is None:
        logits = model.apply(ours, tokens, positions=positions, mask=seen.valid).logits
        return _mark(logits, seen), None
    found = nn.features_of_padded(
        model,
        ours,
        tokens,
        mask=seen.valid,
        cache={k: v for k, v in cache.items() if k == "end" or k.startswith("layer_")},
    )
    logits = model.logits(ours, found.x)
    assert found.cache is not None
    taken = cache["num_columns"] + jnp.int32(tokens.shape[1])
    return _mark(logits, seen), found.cache | {
        "is_token": seen.is_token,
        "num_columns": taken,
    }


def _mark(logits: Float[Array, "B L V"], seen: _Seen) -> Float[Array, "B L V"]:
    """Returns the logits, NaN in rows that cannot be done."""
    return jnp.where(seen.is_supported[:, None, None], logits, jnp.nan)


def _check_shapes(
    tokens: Array, positions: Array, cache: Cache | None, attention_mask: Array
) -> None:
    if tokens.ndim != 2:
        raise ValueError(
            f"The tokens have shape {tuple(tokens.shape)}; they need two axes, batch "
            "and length."
        )
    if cache is not None and "is_token" not in cache:
        raise ValueError(
            "The cache is none of this API; make it with init_cache of "
            "gemma.transformer or of its TransformerConfig."
        )
    B, L = tokens.shape
    S = L if cache is None else cache["is_token"].shape[1]
    if cache is not None and cache["is_token"].shape[0] != B:
        raise ValueError(
            f"The cache has {cache['is_token'].shape[0]} rows for {B} rows of tokens."
        )
    expected = {"positions": (positions, (B, L)), "mask": (attention_mask, (B, L, S))}
    for name, (array, shape) in expected.items():
        if tuple(array.shape) != shape:
            raise ValueError(
                f"The {name} of {B} rows of {L} tokens must have shape {shape}; found "
                f"{tuple(array.shape)}."
            )


def _require_supported(seen: _Seen, cache: Cache | None) -> None:
    if bool(jnp.all(seen.is_supported)):
        return
    L, S = seen.valid.shape[1], seen.is_token.shape[1]
    if cache is not None and int(cache["num_columns"]) + L > S:
        raise ValueError(
            f"The cache has {S} columns, {int(cache['num_columns'])} of them taken: "
            f"{L} more do not fit. Raise cache_size."
        )
    row = int(jnp.argmin(seen.is_supported))
    raise ValueError(
        f"Row {row} has an attention mask or positions that cannot be done: each token "
        "must see itself and all tokens before it, padding left out, as "
        "make_causal_attn_mask has it, and positions must be those of "
        "build_positions_from_mask. For other masks see gemma.gm.nn."
    )
