"""The shape of a model: frozen values, no behaviour beyond derived sizes."""

import dataclasses
import enum
import math

from gemma.gm.vision import VisionConfig


class AttentionType(enum.Enum):
    """How far back a layer looks."""

    GLOBAL = "global"  # at everything before
    LOCAL = "local"  # at a sliding window


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RopeConfig:
    """Rotary positions of a layer.

    Attributes:
      theta: Base of the wavelengths.
      factor: Linear stretch of the positions (1 = none).
    """

    theta: float = 10_000.0
    factor: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LayerConfig:
    """One decoder layer.

    Attributes:
      attention_type: Global or sliding window.
      embed_dim: Model width, D.
      hidden_dim: Width inside the feed-forward layer, F.
      num_heads: Query heads, N.
      num_kv_heads: Key/value heads, K; divides N.
      head_dim: Width of a head, H. N * H need not be D.
      query_scale: Factor on the attention scores.
      rope: Rotary positions.
      window: Keys that a local layer sees, the query's own included.
      attn_softcap: Cap on the attention scores, or None.
      qk_norm: Whether queries and keys are normalised (Gemma 3).
      post_norms: Whether the results of attention and feed-forward are normalised
        before they join the residual (Gemma 2, 3).
      norm_eps: Added to the mean square in every norm.
    """

    attention_type: AttentionType
    embed_dim: int
    hidden_dim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    query_scale: float
    rope: RopeConfig
    window: int
    attn_softcap: float | None
    qk_norm: bool
    post_norms: bool
    norm_eps: float

    def __post_init__(self):
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"{self.num_heads} query heads cannot share {self.num_kv_heads} "
                "key/value heads evenly."
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim is {self.head_dim}; rotation needs it even.")
        if self.is_local and self.window < 1:
            raise ValueError(f"window is {self.window}; a local layer needs 1 or more.")

    @property
    def is_local(self) -> bool:
        """Whether the layer sees a sliding window only."""
        return self.attention_type is AttentionType.LOCAL


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TransformerConfig:
    """A whole decoder.

    Attributes:
      family: "gemma", "gemma2" or "gemma3": the name of the architecture in
        checkpoints, which also decides the dialog format.
      vocab_size: Rows of the embedding, V.
      embed_dim: Model width, D.
      layers: One config a layer.
      final_softcap: Cap on the logits, or None.
      max_positions: Longest sequence the model was trained for.
      vision: The eyes, if it has any.
      has_head: Whether the logits come from a matrix of its own rather than from the
        embedding: untied, as some fine-tunes are.
    """

    family: str
    vocab_size: int
    embed_dim: int
    layers: tuple[LayerConfig, ...]
    final_softcap: float | None
    max_positions: int
    vision: VisionConfig | None = None
    has_head: bool = False

    @property
    def num_layers(self) -> int:
        """How many decoder layers there are."""
        return len(self.layers)

    @property
    def norm_eps(self) -> float:
        """What the final norm adds to the mean square."""
        return self.layers[0].norm_eps

    def cache_bytes(
        self, *, length: int, batch_size: int = 1, itemsize: int = 4
    ) -> int:
        """Returns the memory of a key/value cache for `length` tokens."""
        slots = (
            min(length, layer.window) * layer.num_kv_heads * layer.head_dim
            if layer.is_local
            else length * layer.num_kv_heads * layer.head_dim
            for layer in self.layers
        )
        return 2 * batch_size * itemsize * sum(slots)


def gemma1_config(
    *,
    num_layers: int,
    embed_dim: int,
    hidden_dim: int,
    num_heads: int,
    num_kv_heads: int,
    head_dim: int = 256,
    vocab_size: int = 256_000,
    rope_theta: float = 10_000.0,
    max_positions: int = 8192,
    norm_eps: float = 1e-6,
) -> TransformerConfig:
    """Returns a Gemma 1 decoder: plain pre-norm, all layers global.

    Reference: Gemma Team 2024, "Gemma: Open Models Based on Gemini Research and
    Technology".
    """
    layer = LayerConfig(
        attention_type=AttentionType.GLOBAL,
        embed_dim=embed_dim,
        hidden_dim=hidden_dim,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        query_scale=head_dim**-0.5,
        rope=RopeConfig(theta=rope_theta),
        window=max_positions,
        attn_softcap=None,
        qk_norm=False,
        post_norms=False,
        norm_eps=norm_eps,
    )
    return TransformerConfig(
        family="gemma",
        vocab_size=vocab_size,
        embed_dim=embed_dim,
        layers=(layer,) * num_layers,
        final_softcap=None,
        max_positions=max_positions,
    )


def gemma2_config(
    *,
    num_layers: int,
    embed_dim: int,
    hidden_dim: int,
    num_heads: int,
    num_kv_heads: int,
    head_dim: int = 256,
    query_pre_attn_scalar: float | None = None,
    attention_types: tuple[AttentionType, ...] | None = None,
    window: int = 4096,
    attn_softcap: float | None = 50.0,
    final_softcap: float | None = 30.0,
    vocab_size: int = 256_000,
    rope_theta: float = 10_000.0,
    max_positions: int = 8192,
    norm_eps: float = 1e-6,
) -> TransformerConfig:
    """Returns a Gemma 2 decoder: norms on both sides, softcaps, local and global.

    Args:
      num_layers: Number of layers.
      embed_dim: D.
      hidden_dim: F.
      num_heads: N.
      num_kv_heads: K.
      head_dim: H.
      query_pre_attn_scalar: Scores are divided by its root; head_dim if None.
      attention_types: One a layer; alternating from local if None.
      window: Keys that local layers see.
      attn_softcap: Cap on the scores.
      final_softcap: Cap on the logits.
      vocab_size: V.
      rope_theta: Base of the rotary wavelengths.
      max_positions: Trained context.
      norm_eps: Epsilon of the norms.

    Reference: Gemma Team 2024, "Gemma 2: Improving Open Language Models at a
    Practical Size".
    """
    pattern = (AttentionType.LOCAL, AttentionType.GLOBAL)
    layer = LayerConfig(
        attention_type=AttentionType.LOCAL,
        embed_dim=embed_dim,
        hidden_dim=hidden_dim,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        query_scale=(query_pre_attn_scalar or head_dim) ** -0.5,
        rope=RopeConfig(theta=rope_theta),
        window=window,
        attn_softcap=attn_softcap,
        qk_norm=False,
        post_norms=True,
        norm_eps=norm_eps,
    )
    types = attention_types or repeat_pattern(pattern, num_layers)
    return TransformerConfig(
        family="gemma2",
        vocab_size=vocab_size,
        embed_dim=embed_dim,
        layers=tuple(dataclasses.replace(layer, attention_type=t) for t in types),
        final_softcap=final_softcap,
        max_positions=max_positions,
    )


def gemma3_config(
    *,
    num_layers: int,
    embed_dim: int,
    hidden_dim: int,
    num_heads: int,
    num_kv_heads: int,
    head_dim: int = 256,
    query_pre_attn_scalar: float | None = None,
    attention_types: tuple[AttentionType, ...] | None = None,
    window: int = 512,
    final_softcap: float | None = None,
    vocab_size: int = 262_144,
    global_rope: RopeConfig = RopeConfig(theta=1_000_000.0),
    local_rope: RopeConfig = RopeConfig(theta=10_000.0),
    max_positions: int = 32_768,
    norm_eps: float = 1e-6,
    vision: VisionConfig | None = None,
) -> TransformerConfig:
    """Returns a Gemma 3 decoder: normed queries and keys, five local to one global.

    Args:
      num_layers: Number of layers.
      embed_dim: D.
      hidden_dim: F.
      num_heads: N.
      num_kv_heads: K.
      head_dim: H.
      query_pre_attn_scalar: Scores are divided by its root; head_dim if None.
      attention_types: One a layer; five local, one global, and so on if None.
      window: Keys that local layers see.
      final_softcap: Cap on the logits; none in published models.
      vocab_size: V.
      global_rope: Rotary positions of global layers.
      local_rope: Rotary positions of local layers.
      max_positions: Trained context.
      norm_eps: Epsilon of the norms.
      vision: The eyes, if it has any.

    Reference: Gemma Team 2025, "Gemma 3 Technical Report".
    """
    pattern = (AttentionType.LOCAL,) * 5 + (AttentionType.GLOBAL,)
    local = LayerConfig(
        attention_type=AttentionType.LOCAL,
        embed_dim=embed_dim,
        hidden_dim=hidden_dim,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        query_scale=(query_pre_attn_scalar or head_dim) ** -0.5,
        rope=local_rope,
        window=window,
        attn_softcap=None,
        qk_norm=True,
        post_norms=True,
        norm_eps=norm_eps,
    )
    by_type = {
        AttentionType.LOCAL: local,
        AttentionType.GLOBAL: dataclasses.replace(
            local, attention_type=AttentionType.GLOBAL, rope=global_rope
        ),
    }
    types = attention_types or repeat_pattern(pattern, num_layers)
    return TransformerConfig(
        family="gemma3",
        vocab_size=vocab_size,
        embed_dim=embed_dim,
        layers=tuple(by_type[t] for t in types),
        final_softcap=final_softcap,
        max_positions=max_positions,
        vision=vision,
    )


def repeat_pattern(
    pattern: tuple[AttentionType, ...], num_layers: int
) -> tuple[AttentionType, ...]:
    """Returns the pattern repeated and cut to `num_layers`."""
    return (pattern * math.ceil(num_layers / len(pattern)))[:num_layers]
