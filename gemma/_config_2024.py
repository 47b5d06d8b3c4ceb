"""The sizes of a model under the names of 2024; `gemma.transformer` offers it."""

import dataclasses

import jax.numpy as jnp

from gemma.gm import ckpts, nn
from gemma.gm.typing import Cache, DType, Params

DEFAULT_CACHE_SIZE = 1024


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """The sizes of a model, and of its cache.

    Attributes:
      num_layers: Decoder layers.
      num_embed: Rows of the embedding, V.
      embed_dim: Model width.
      hidden_dim: Width inside the feed-forward layers.
      num_heads: Query heads.
      head_dim: Width of a head.
      num_kv_heads: Key/value heads.
      max_cache_length: Slots of the cache, S.
      architecture: What these sizes do not say of a Gemma 2 or 3: windows, caps, norms.
        None is a Gemma 1, of which they say all.
    """

    num_layers: int
    num_embed: int
    embed_dim: int
    hidden_dim: int
    num_heads: int
    head_dim: int
    num_kv_heads: int
    max_cache_length: int = DEFAULT_CACHE_SIZE
    architecture: nn.TransformerConfig | None = None

    def __post_init__(self):
        if self.max_cache_length < 1:
            raise ValueError(
                f"max_cache_length is {self.max_cache_length}; it must be 1 or more."
            )
        stated = {name: getattr(self, name) for name in _sizes_of(self.gm)}
        if stated != _sizes_of(self.gm):
            raise ValueError(
                f"The config says {stated} and its architecture {_sizes_of(self.gm)}."
            )

    @property
    def gm(self) -> nn.TransformerConfig:
        """The same model as a config of `gemma.gm`."""
        if self.architecture is not None:
            return self.architecture
        return nn.gemma1_config(
            num_layers=self.num_layers,
            embed_dim=self.embed_dim,
            hidden_dim=self.hidden_dim,
            num_heads=self.num_heads,
            num_kv_heads=self.num_kv_heads,
            head_dim=self.head_dim,
            vocab_size=self.num_embed,
        )

    @classmethod
    def of(
        cls, architecture: nn.TransformerConfig, cache_size: int = DEFAULT_CACHE_SIZE
    ) -> "TransformerConfig":
        """Returns the config of a model that `gemma.gm` describes; its text part."""
        architecture = dataclasses.replace(architecture, vision=None)
        config = cls(
            **_sizes_of(architecture), max_cache_length=cache_size, architecture=None
        )
        if config.gm == architecture:
            return config
        return dataclasses.replace(config, architecture=architecture)

    @classmethod
    def from_params(
        cls, params: Params, cache_size: int = DEFAULT_CACHE_SIZE
    ) -> "TransformerConfig":
        """Returns the config that the shapes of params imply.

        Norms after the layers make a Gemma 2, norms of queries a Gemma 3. What shapes
        do not say of these is taken from the published model of the same sizes; if
        there is none, from the defaults of `gm.nn.gemma2_config` and `gemma3_config`.
        For other models use `of`.

        Args:
          params: What `load_and_format_params` returns, `{"transformer": ...}`: arrays
            or anything that has their shapes.
          cache_size: Slots of the cache.

        Raises:
          ValueError: It is no such tree.
        """
        if "transformer" not in params:
            raise ValueError(
                "from_params takes the whole tree, {'transformer': ...}, as "
                "load_and_format_params returns it; found the entries "
                f"{', '.join(map(str, params)) or 'of an empty tree'}."
            )
        architecture = ckpts.infer_config(params["transformer"])
        architecture = dataclasses.replace(architecture, vision=None)
        ckpts.check_deepmind(params["transformer"], architecture)
        return cls.of(architecture, cache_size)

    @classmethod
    def gemma_2b(cls, cache_size: int = DEFAULT_CACHE_SIZE) -> "TransformerConfig":
        """Gemma of 2B."""
        return _catalogued("Gemma1_2B", 256_128, cache_size)

    @classmethod
    def gemma_7b(cls, cache_size: int = DEFAULT_CACHE_SIZE) -> "TransformerConfig":
        """Gemma of 7B."""
        return _catalogued("Gemma1_7B", 256_128, cache_size)

    @classmethod
    def gemma2_2b(cls, cache_size: int = DEFAULT_CACHE_SIZE) -> "TransformerConfig":
        """Gemma 2 of 2B."""
        return _catalogued("Gemma2_2B", 256_128, cache_size)

    @classmethod
    def gemma2_9b(cls, cache_size: int = DEFAULT_CACHE_SIZE) -> "TransformerConfig":
        """Gemma 2 of 9B."""
        return _catalogued("Gemma2_9B", 256_128, cache_size)

    @classmethod
    def gemma2_27b(cls, cache_size: int = DEFAULT_CACHE_SIZE) -> "TransformerConfig":
        """Gemma 2 of 27B."""
        return _catalogued("Gemma2_27B", 256_128, cache_size)

    @classmethod
    def gemma3_1b(cls, cache_size: int = DEFAULT_CACHE_SIZE) -> "TransformerConfig":
        """Gemma 3 of 1B."""
        return _catalogued("Gemma3_1B", 262_144, cache_size)

    @classmethod
    def gemma3_4b(cls, cache_size: int = DEFAULT_CACHE_SIZE) -> "TransformerConfig":
        """Gemma 3 of 4B, its text part."""
        return _catalogued("Gemma3_4B", 262_144, cache_size)

    @classmethod
    def gemma3_12b(cls, cache_size: int = DEFAULT_CACHE_SIZE) -> "TransformerConfig":
        """Gemma 3 of 12B, its text part."""
        return _catalogued("Gemma3_12B", 262_144, cache_size)

    @classmethod
    def gemma3_27b(cls, cache_size: int = DEFAULT_CACHE_SIZE) -> "TransformerConfig":
        """Gemma 3 of 27B, its text part."""
        return _catalogued("Gemma3_27B", 262_144, cache_size)

    def init_cache(self, batch_size: int, dtype: DType = jnp.bfloat16) -> Cache:
        """Returns an empty cache for a batch; see `init_cache`."""
        return init_cache(self, batch_size, dtype)


def init_cache(
    config: TransformerConfig, batch_size: int, dtype: DType = jnp.bfloat16
) -> Cache:
    """Returns an empty cache, to be passed to `Transformer.apply` and back.

    Each layer has its "k" and "v". Every call of `apply` takes a column of the cache
    for each of its tokens, padding too; "is_token" says which columns are tokens, and
    "num_columns" how many are taken.

    Args:
      config: The model; states how many columns there are.
      batch_size: Rows.
      dtype: Dtype of keys and values.
    """
    S = config.max_cache_length
    cache = nn.Transformer(config.gm).init_cache(
        batch_size=batch_size, cache_length=S, dtype=dtype
    )
    return cache | {
        "is_token": jnp.zeros([batch_size, S], bool),
        "num_columns": jnp.int32(0),
    }


def _sizes_of(config: nn.TransformerConfig) -> dict[str, int]:
    """Returns the sizes of a model under the names of 2024."""
    layer = config.layers[0]
    return {
        "num_layers": config.num_layers,
        "num_embed": config.vocab_size,
        "embed_dim": config.embed_dim,
        "hidden_dim": layer.hidden_dim,
        "num_heads": layer.num_heads,
        "head_dim": layer.head_dim,
        "num_kv_heads": layer.num_kv_heads,
    }


def _catalogued(name: str, num_embed: int, cache_size: int) -> TransformerConfig:
    """Returns a published model, with as many rows as Google's own checkpoints have."""
    config = dataclasses.replace(nn.CATALOG[name], vocab_size=num_embed)
    return TransformerConfig.of(config, cache_size)
