"""The eyes of Gemma 3: image files -> pixels -> soft tokens."""

from typing import TYPE_CHECKING

from gemma.gm._lazy import lazily
from gemma.gm.vision._config import VisionConfig
from gemma.gm.vision._errors import ImageError
from gemma.gm.vision._images import encode_image, prepare_image, read_image
from gemma.gm.vision._pan_and_scan import pan_and_scan

if TYPE_CHECKING:
    from gemma.gm.vision._soft_tokens import soft_tokens, vision_specs

__getattr__ = lazily(
    __name__, {"soft_tokens": "_soft_tokens", "vision_specs": "_soft_tokens"}
)

__all__ = [
    "ImageError",
    "VisionConfig",
    "encode_image",
    "pan_and_scan",
    "prepare_image",
    "read_image",
    "soft_tokens",
    "vision_specs",
]
