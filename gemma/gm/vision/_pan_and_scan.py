"""Crops of a long image, so that its details survive the resize to a square.

Reference: Gemma Team 2025, "Gemma 3 Technical Report", section 2 (pan and scan).
"""

import math

import numpy as np
from jaxtyping import UInt8

from gemma.gm._numbers import check_count, check_number


def pan_and_scan(
    image: UInt8[np.ndarray, "H W 3"],
    *,
    min_ratio: float = 1.2,
    min_crop: int = 256,
    max_crops: int = 4,
) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """Returns the image cut along its longer side; nothing if that would not help.

    The crops do not overlap and, joined, are the image. A model sees them after the
    image itself. Their number is the one that makes them closest to squares.

    Args:
      image: Pixels.
      min_ratio: An image whose sides are closer than this is not cut.
      min_crop: Nor is one whose crops would have a side shorter than this.
      max_crops: The largest number of crops.

    Example:
      >>> crops = pan_and_scan(np.zeros((300, 1000, 3), np.uint8))
      >>> [crop.shape for crop in crops]
      [(300, 334, 3), (300, 334, 3), (300, 332, 3)]
    """
    min_ratio = check_number("min_ratio", min_ratio, at_least=1)
    min_crop = check_count("min_crop", min_crop, at_least=1)
    max_crops = check_count("max_crops", max_crops, at_least=1)
    axis = 0 if image.shape[0] > image.shape[1] else 1
    longer, shorter = image.shape[axis], image.shape[1 - axis]
    if longer / shorter < min_ratio:
        return []
    # Half rounds up. Of an image too small for so many, fewer crops are made.
    num_crops = min(math.floor(longer / shorter + 0.5), longer // min_crop)
    num_crops = min(max(num_crops, 2), max_crops)
    length = math.ceil(longer / num_crops)
    if min(length, shorter) < min_crop:
        return []
    return np.split(image, range(length, longer, length), axis)
