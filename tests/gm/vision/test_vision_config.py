"""A tower that cannot be built is refused when it is described."""

import pytest

from gemma.gm.vision import VisionConfig


def test_published_sizes():
    config = VisionConfig()
    assert (config.patches_per_side, config.num_patches) == (64, 4096)
    assert (config.tokens_per_side, config.head_dim) == (16, 72)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 900}, "patches of 14 evenly"),
        ({"num_heads": 7}, "7 heads cannot share"),
        ({"tokens_per_image": 200}, "tokens_per_image is 200"),
        ({"tokens_per_image": 9}, "a number that divides 64"),
        ({"patch_size": 0}, "patch_size is 0; it must be positive"),
        ({"norm_eps": -1e-6}, "norm_eps is -1e-06; it must be positive"),
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        VisionConfig(**changes)
