"""The shape of the eyes: frozen values and the sizes that follow from them."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VisionConfig:
    """A vision tower; the defaults are those of Gemma 3 4B, 12B and 27B.

    Attributes:
      image_size: Rows and columns of the square image it looks at.
      patch_size: Rows and columns of a patch.
      embed_dim: Width of the tower.
      hidden_dim: Width inside its feed-forward layers.
      num_layers: Number of layers.
      num_heads: Attention heads.
      tokens_per_image: Soft tokens that an image becomes, a square number.
      soft_token: The id that stands for a soft token in a prompt.
      norm_eps: Added to the variance, or mean square, in every norm.

    Example:
      >>> VisionConfig().num_patches
      4096
    """

    image_size: int = 896
    patch_size: int = 14
    embed_dim: int = 1152
    hidden_dim: int = 4304
    num_layers: int = 27
    num_heads: int = 16
    tokens_per_image: int = 256
    soft_token: int = 262_144
    norm_eps: float = 1e-6

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value <= 0:
                raise ValueError(f"{field.name} is {value}; it must be positive.")
        if self.image_size % self.patch_size:
            raise ValueError(
                f"An image of {self.image_size} rows cannot be cut into patches of "
                f"{self.patch_size} evenly."
            )
        if self.embed_dim % self.num_heads:
            raise ValueError(
                f"embed_dim is {self.embed_dim}; {self.num_heads} heads cannot share "
                "it evenly."
            )
        tokens, patches = self.tokens_per_side, self.patches_per_side
        if tokens**2 != self.tokens_per_image or patches % tokens:
            raise ValueError(
                f"tokens_per_image is {self.tokens_per_image}; it must be the square of "
                f"a number that divides {patches}, the patches on each side."
            )

    @property
    def patches_per_side(self) -> int:
        """Rows and columns of patches."""
        return self.image_size // self.patch_size

    @property
    def num_patches(self) -> int:
        """How many patches an image is cut into."""
        return self.patches_per_side**2

    @property
    def tokens_per_side(self) -> int:
        """Rows and columns of soft tokens."""
        return math.isqrt(self.tokens_per_image)

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.embed_dim // self.num_heads
