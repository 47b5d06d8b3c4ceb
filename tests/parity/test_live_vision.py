"""transformers' eyes of Gemma 3 and ours, side by side.

Needs torch and transformers; `make parity` installs them.
"""

import functools
import io

import jax
import numpy as np
import PIL.Image
import pytest

from gemma.gm.vision import (
    VisionConfig,
    pan_and_scan,
    prepare_image,
    read_image,
    soft_tokens,
    vision_specs,
)
from gemma.gm.weights import flatten, unflatten

torch = pytest.importorskip("torch", reason="parity needs torch and transformers")
transformers = pytest.importorskip(
    "transformers", reason="parity needs torch and transformers"
)

from transformers.models.gemma3.image_processing_pil_gemma3 import (  # noqa: E402
    Gemma3ImageProcessorPil,
)
from transformers.models.gemma3.modeling_gemma3 import (  # noqa: E402
    Gemma3MultiModalProjector,
)

pytestmark = [
    pytest.mark.parity,
    # Torch and transformers warn about themselves.
    pytest.mark.filterwarnings("ignore"),
]

TEXT_DIM = 24
# Named by what they try; an epsilon that shows.
CONFIGS = {
    "whole_blocks": VisionConfig(
        image_size=56, patch_size=14, embed_dim=32, hidden_dim=48, num_layers=2,
        num_heads=4, tokens_per_image=4, norm_eps=1e-2,
    ),
    "many_blocks_odd_heads": VisionConfig(
        image_size=72, patch_size=3, embed_dim=30, hidden_dim=43, num_layers=3,
        num_heads=3, tokens_per_image=9, norm_eps=1e-6,
    ),
    "no_pooling": VisionConfig(
        image_size=16, patch_size=8, embed_dim=16, hidden_dim=8, num_layers=1,
        num_heads=1, tokens_per_image=4, norm_eps=1e-6,
    ),
}  # fmt: skip

# Ours: theirs.
TOWER = {
    "patch_embedding/kernel": "embeddings.patch_embedding.weight",
    "patch_embedding/bias": "embeddings.patch_embedding.bias",
    "position_embedding": "embeddings.position_embedding.weight",
    "final_norm/scale": "post_layernorm.weight",
    "final_norm/bias": "post_layernorm.bias",
}
LAYER = {
    "attn_norm/scale": "layer_norm1.weight",
    "attn_norm/bias": "layer_norm1.bias",
    "attn/q": "self_attn.q_proj.weight",
    "attn/q_bias": "self_attn.q_proj.bias",
    "attn/k": "self_attn.k_proj.weight",
    "attn/k_bias": "self_attn.k_proj.bias",
    "attn/v": "self_attn.v_proj.weight",
    "attn/v_bias": "self_attn.v_proj.bias",
    "attn/o": "self_attn.out_proj.weight",
    "attn/o_bias": "self_attn.out_proj.bias",
    "mlp_norm/scale": "layer_norm2.weight",
    "mlp_norm/bias": "layer_norm2.bias",
    "mlp/up": "mlp.fc1.weight",
    "mlp/up_bias": "mlp.fc1.bias",
    "mlp/down": "mlp.fc2.weight",
    "mlp/down_bias": "mlp.fc2.bias",
}


def their_model(config: VisionConfig):
    """Returns the tower and the projector of transformers, with random weights."""
    vision = transformers.SiglipVisionConfig(
        hidden_size=config.embed_dim,
        intermediate_size=config.hidden_dim,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        image_size=config.image_size,
        patch_size=config.patch_size,
        layer_norm_eps=config.norm_eps,
        vision_use_head=False,
        attn_implementation="eager",
    )
    whole = transformers.Gemma3Config(
        text_config=transformers.Gemma3TextConfig(hidden_size=TEXT_DIM),
        vision_config=vision,
        mm_tokens_per_image=config.tokens_per_image,
    )
    models = transformers.SiglipVisionModel(vision), Gemma3MultiModalProjector(whole)
    generator = torch.Generator().manual_seed(1000)
    for name, weight in (item for model in models for item in model.named_parameters()):
        # Large enough for every weight to show; the scales of layer norms around one.
        is_scale = "norm" in name and name.endswith("weight") and "mm_" not in name
        stddev = 0.3 if weight.ndim == 1 else 1.5 / weight[0].numel() ** 0.5
        noise = torch.randn(weight.shape, generator=generator)
        weight.data = float(is_scale) + stddev * noise
    return models


def our_params(config: VisionConfig, tower, projector):
    """Returns their weights in our tree: reshaped, and the projection transposed."""
    names = dict(TOWER)
    for i in range(config.num_layers):
        for ours, theirs in LAYER.items():
            names[f"layer_{i}/{ours}"] = f"encoder.layers.{i}.{theirs}"
    state = tower.state_dict()
    assert sorted(names.values()) == sorted(state)
    flat = {ours: state[theirs].numpy() for ours, theirs in names.items()}
    flat["projector/norm"] = projector.mm_soft_emb_norm.weight.detach().numpy()
    flat["projector/weight"] = projector.mm_input_projection_weight.detach().numpy().T
    specs = flatten(vision_specs(config, TEXT_DIM))
    assert flat.keys() == specs.keys()
    return unflatten({path: flat[path].reshape(specs[path].shape) for path in flat})


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_soft_tokens(name):
    config = CONFIGS[name]
    tower, projector = their_model(config)
    shape = (3, config.image_size, config.image_size, 3)
    images = np.random.default_rng(1000).integers(0, 256, shape, np.uint8)
    pixels = torch.tensor(images).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        patches = tower((pixels / 255 - 0.5) / 0.5).last_hidden_state
        expected = projector(patches).numpy()
    see = jax.jit(functools.partial(soft_tokens, config=config))
    found = see(our_params(config, tower, projector), images=images)
    # Of their size, which is about one: sums in another order through three layers.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * expected.std())


def some_pixels(height: int, width: int) -> np.ndarray:
    """Returns an image with lines, noise and a slope, which show how it is resized."""
    rng = np.random.default_rng(height * 10_000 + width)
    pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    pixels[: height // 2, ::3] = 255
    pixels[height // 2 :] = np.linspace(0, 255, width)[:, None]
    return pixels


def their_pixels(image, side: int, **options) -> list[np.ndarray]:
    """Returns what their processor makes of an image, back in uint8 with colours last."""
    processor = Gemma3ImageProcessorPil(size={"height": side, "width": side})
    batch = processor(image, return_tensors="np", **options)
    stretched = (batch["pixel_values"].transpose(0, 2, 3, 1) + 1) * 127.5
    rounded = stretched.round()
    np.testing.assert_allclose(stretched, rounded, atol=1e-3)
    return list(rounded.astype(np.uint8))


SIZES = [
    (1, 1), (1, 90), (90, 1), (55, 57), (56, 56), (40, 40), (300, 200), (257, 1023),
    (1000, 90), (7, 3),
]  # fmt: skip


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_resized_pixels(size):
    config, pixels = CONFIGS["whole_blocks"], some_pixels(*size)
    # An image of Pillow: they would take the colours of one pixel for its rows.
    (expected,) = their_pixels(PIL.Image.fromarray(pixels), config.image_size)
    np.testing.assert_array_equal(prepare_image(pixels, config), expected)


@pytest.mark.slow
def test_resized_pixels_of_the_published_size():
    pixels = some_pixels(640, 1300)
    (expected,) = their_pixels(PIL.Image.fromarray(pixels), 896)
    np.testing.assert_array_equal(prepare_image(pixels, VisionConfig()), expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_colours_of_a_mode(mode):
    image = PIL.Image.fromarray(some_pixels(56, 56))
    if mode in ("LA", "RGBA"):
        image.putalpha(PIL.Image.linear_gradient("L").resize(image.size))
    image = image.convert(mode)
    (expected,) = their_pixels(image, 56)
    np.testing.assert_array_equal(read_image(image), expected)


@pytest.mark.parametrize("transparency", [2, bytes(range(0, 250, 50))], ids=str)
def test_colours_of_a_transparent_palette(transparency):
    buffer = io.BytesIO()
    image = PIL.Image.fromarray(some_pixels(56, 56)).quantize(5)
    image.save(buffer, "PNG", transparency=transparency)
    (expected,) = their_pixels(PIL.Image.open(buffer), 56)
    np.testing.assert_array_equal(read_image(buffer.getvalue()), expected)


def test_every_opacity_of_every_shade():
    """Their arithmetic on arrays is in floats, and Pillow's in integers."""
    shade, opacity = np.indices((256, 256)).astype(np.uint8)
    pixels = np.stack([shade, 255 - shade, shade, opacity], axis=-1)
    (expected,) = their_pixels(pixels, 256, do_resize=False)
    np.testing.assert_array_equal(read_image(pixels), expected)


# Around each border between two numbers of crops, and around too small.
RATIOS = [
    1.0, 1.1, 1.19, 1.2, 1.21, 1.49, 1.5, 1.51, 2.0, 2.49, 2.5, 2.51, 3.0, 3.49, 3.5,
    3.51, 4.0, 4.5, 7.3,
]  # fmt: skip


@pytest.mark.parametrize("is_tall", [False, True], ids=["wide", "tall"])
@pytest.mark.parametrize("shorter", [25, 26, 30, 41, 100])
def test_pan_and_scan(shorter, is_tall):
    """Crops of a tenth of the published size, to be quick."""
    processor = Gemma3ImageProcessorPil()
    for ratio in RATIOS:
        longer = round(shorter * ratio)
        pixels = some_pixels(*((longer, shorter) if is_tall else (shorter, longer)))
        theirs = processor.pan_and_scan(pixels.transpose(2, 0, 1), 26, 4, 1.2)
        ours = pan_and_scan(pixels, min_crop=26)
        assert len(ours) == len(theirs), ratio
        for crop, expected in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(crop, expected.transpose(1, 2, 0))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(300, 1000), (1300, 512), (700, 767)], ids=str)
def test_image_and_crops_as_the_model_sees_them(size):
    config, pixels = CONFIGS["whole_blocks"], some_pixels(*size)
    expected = their_pixels(
        PIL.Image.fromarray(pixels),
        config.image_size,
        do_pan_and_scan=True,
        pan_and_scan_min_crop_size=256,
        pan_and_scan_max_num_crops=4,
        pan_and_scan_min_ratio_to_activate=1.2,
    )
    crops = [pixels, *pan_and_scan(pixels)]
    found = [prepare_image(crop, config) for crop in crops]
    np.testing.assert_array_equal(found, expected)
