"""The eyes of Gemma 3: image files -> pixels -> soft tokens."""

from typing import TYPE_CHECKING

from gemma.gm._lazy import lazily
from gemma.gm.vision._config import VisionConfig
from gemma.gm.vision._errors import ImageError

if TYPE_CHECKING:
    from gemma.gm.vision._images import (
        encode_image,
        prepare_image,
        read_image,
        resize_image,
    )
    from gemma.gm.vision._pan_and_scan import pan_and_scan
    from gemma.gm.vision._soft_tokens import soft_tokens, vision_specs

__getattr__ = lazily(
    __name__,
    {
        "encode_image": "_images",
        "pan_and_scan": "_pan_and_scan",
        "prepare_image": "_images",
        "read_image": "_images",
        "resize_image": "_images",
        "soft_tokens": "_soft_tokens",
        "vision_specs": "_soft_tokens",
    },
)

__all__ = [
    "ImageError",
    "VisionConfig",
    "encode_image",
    "pan_and_scan",
    "prepare_image",
    "read_image",
    "resize_image",
    "soft_tokens",
    "vision_specs",
]
