"""Long images are cut into crops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma.gm.vision import pan_and_scan


def numbered(height: int, width: int) -> np.ndarray:
    """Returns an image in which neighbours differ."""
    pixels = np.arange(height * width * 3) % 251
    return pixels.astype(np.uint8).reshape(height, width, 3)


def sizes(height: int, width: int, **options) -> list[tuple[int, int]]:
    return [crop.shape[:2] for crop in pan_and_scan(numbered(height, width), **options)]


def test_wide_image_is_cut_from_left_to_right():
    image = numbered(300, 601)
    left, right = pan_and_scan(image)
    np.testing.assert_array_equal(left, image[:, :301])
    np.testing.assert_array_equal(right, image[:, 301:])


def test_tall_image_is_cut_from_top_to_bottom():
    image = numbered(601, 300)
    top, bottom = pan_and_scan(image)
    np.testing.assert_array_equal(top, image[:301])
    np.testing.assert_array_equal(bottom, image[301:])


def test_image_that_is_nearly_square_is_not_cut():
    assert sizes(1000, 1199) == []


def test_image_at_the_ratio_is_cut():
    assert sizes(1000, 1200) == [(1000, 600)] * 2


def test_half_a_crop_more_is_a_crop():
    assert len(sizes(400, 1000)) == 3


def test_no_more_crops_than_asked_for():
    assert len(sizes(300, 9000)) == 4
    assert len(sizes(300, 9000, max_crops=6)) == 6


def test_image_too_small_for_its_crops_gets_fewer():
    assert sizes(300, 767, min_ratio=1.0) == [(300, 384), (300, 383)]


def test_crops_too_small_are_not_made():
    assert sizes(255, 3000) == []
    assert sizes(300, 500) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_thin_images_are_not_cut(size):
    assert sizes(*size) == []


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.integers(2, 70))
def test_crops_joined_are_the_image(height, width, min_crop, max_crops):
    image = numbered(height, width)
    crops = pan_and_scan(image, min_crop=min_crop, max_crops=max_crops)
    assert all(crop.size for crop in crops)
    if crops:
        axis = 0 if height > width else 1
        np.testing.assert_array_equal(np.concatenate(crops, axis), image)
