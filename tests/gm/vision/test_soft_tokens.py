"""The tower and the projector, by their formula and by their laws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

from gemma.gm.peft import dequantize, quantize
from gemma.gm.vision import VisionConfig, soft_tokens, vision_specs
from gemma.gm.vision import _tower as tower_file
from gemma.gm.weights import (
    flatten,
    init_params,
    num_out_axes,
    num_params,
    unflatten,
)

# 36 patches, which no power of two divides; squares of 3 x 3 become 4 tokens.
CONFIG = VisionConfig(
    image_size=24,
    patch_size=4,
    embed_dim=32,
    hidden_dim=64,
    num_layers=2,
    num_heads=4,
    tokens_per_image=4,
    norm_eps=1e-3,
)
TEXT_DIM = 24


@functools.cache
def vivid_params():
    """Returns params under which each weight, bias and norm shows in the result."""
    flat, rng = flatten(vision_specs(CONFIG, TEXT_DIM)), np.random.default_rng(0)

    def vivid(path, spec):
        fan_in = np.prod(spec.shape[num_out_axes(path) :])
        matrix = spec.init == "normal" and not path.endswith("scale")
        stddev = 1.5 / np.sqrt(fan_in) if matrix else 0.3
        around = 1.0 if path.endswith("scale") else 0.0
        return jnp.asarray(around + stddev * rng.normal(size=spec.shape), jnp.float32)

    return unflatten({path: vivid(path, spec) for path, spec in flat.items()})


def some_images(num_images, config=CONFIG):
    shape = (num_images, config.image_size, config.image_size, 3)
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


@functools.partial(jax.jit, static_argnums=1)
def apply(params, config, images):
    return soft_tokens(params, config, images)


def norm(x, params):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
    return x * params["scale"] + params["bias"]


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def attend(x, params):
    q, k, v = (
        np.einsum("PW,NHW->NPH", x, params[n]) + params[f"{n}_bias"][:, None]
        for n in "qkv"
    )
    score = np.exp(np.einsum("NQH,NPH->NQP", q, k) / np.sqrt(q.shape[-1]))
    found = np.einsum("NQP,NPH->QNH", score / score.sum(-1, keepdims=True), v)
    return np.einsum("QNH,WNH->QW", found, params["o"]) + params["o_bias"]


def reference(params, image):
    """Returns the soft tokens of one image in float64, patch by patch."""
    embedding = params["patch_embedding"]
    patches = [
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] / 127.5 - 1
        for row in range(6)
        for column in range(6)
    ]
    x = np.array([np.einsum("YXC,WCYX->W", p, embedding["kernel"]) for p in patches])
    x = x + embedding["bias"] + params["position_embedding"]
    for i in range(CONFIG.num_layers):
        layer = params[f"layer_{i}"]
        x = x + attend(norm(x, layer["attn_norm"]), layer["attn"])
        hidden = norm(x, layer["mlp_norm"]) @ layer["mlp"]["up"].T
        hidden = gelu(hidden + layer["mlp"]["up_bias"])
        x = x + hidden @ layer["mlp"]["down"].T + layer["mlp"]["down_bias"]
    grid = norm(x, params["final_norm"]).reshape(6, 6, -1)
    squares = [grid[r : r + 3, c : c + 3] for r in (0, 3) for c in (0, 3)]
    x = np.array([square.mean((0, 1)) for square in squares])
    x = x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-3)
    return x * (1 + params["projector"]["norm"]) @ params["projector"]["weight"].T


def test_soft_tokens_are_their_formula():
    images = some_images(2)
    wide = jax.tree.map(np.float64, vivid_params())
    expected = [reference(wide, image) for image in images]
    assert_close(apply(vivid_params(), CONFIG, images), expected, law="parity")


def test_images_one_by_one_are_the_batch():
    images = some_images(3)
    alone = [apply(vivid_params(), CONFIG, image[None])[0] for image in images]
    assert_close(apply(vivid_params(), CONFIG, images), alone, law="batched")


def test_an_image_does_not_see_its_neighbours():
    images = some_images(3)
    others = images.copy()
    others[[0, 2]] = 255 - others[[0, 2]]
    found, again = (apply(vivid_params(), CONFIG, x)[1] for x in (images, others))
    assert_close(found, again, law="identical")


def test_no_images_have_no_tokens():
    found = apply(vivid_params(), CONFIG, some_images(0))
    assert found.shape == (0, 4, TEXT_DIM)


@pytest.mark.parametrize("size", [1, 7, 12, 35])
def test_blocks_of_any_size_give_the_same(size, monkeypatch):
    expected = apply(vivid_params(), CONFIG, some_images(1))
    monkeypatch.setattr(tower_file, "_MAX_BLOCK", size)
    found = soft_tokens(vivid_params(), CONFIG, jnp.asarray(some_images(1)))
    assert_close(found, expected, law="blockwise")


@pytest.mark.slow
def test_memory_of_a_wide_tower_does_not_grow_with_layers_and_images():
    """All scores of one image would take a gigabyte."""

    def megabytes(num_layers, num_images):
        config = VisionConfig(num_layers=num_layers)
        params = {
            path: jax.ShapeDtypeStruct(spec.shape, jnp.float32)
            for path, spec in flatten(vision_specs(config, 64)).items()
        }
        images = jax.ShapeDtypeStruct((num_images, 896, 896, 3), jnp.uint8)
        compiled = apply.lower(unflatten(params), config, images).compile()
        return compiled.memory_analysis().temp_size_in_bytes / 1e6

    one = megabytes(num_layers=1, num_images=1)
    assert one < 250
    # An image of patches is 19 MB.
    assert megabytes(num_layers=4, num_images=3) < one + 30


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_weights_are_widened(dtype):
    narrow = jax.tree.map(lambda w: w.astype(dtype), vivid_params())
    wide = jax.tree.map(lambda w: w.astype(jnp.float32), narrow)
    found = apply(narrow, CONFIG, some_images(2))
    assert found.dtype == jnp.float32
    assert_close(found, apply(wide, CONFIG, some_images(2)), law="narrow")


def test_packed_matrices():
    """What they are multiplied with is rounded to 8 bits, hence the tolerance."""
    packed = quantize(vivid_params(), "int8")
    found, expected = (
        np.asarray(apply(params, CONFIG, some_images(2)))
        for params in (packed, dequantize(packed))
    )
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


def test_images_of_another_size_are_refused():
    images = jnp.zeros((2, 28, 28, 3), jnp.uint8)
    with pytest.raises(ValueError, match=r"uint8\[2, 28, 28, 3\]; the tower needs"):
        soft_tokens(vivid_params(), CONFIG, images)


def test_a_new_tower_sees():
    """Params of `init_params` tell one image from another."""
    params = init_params(vision_specs(CONFIG, TEXT_DIM), jax.random.key(0))
    one, two = np.asarray(apply(params, CONFIG, some_images(2)))
    assert np.abs(one - two).max() > 0.01


def test_published_number_of_weights():
    """Those of SigLIP So400m/14 without its head, and a projector."""
    specs = vision_specs(VisionConfig(), 2560)
    layer = 4 * (1152 * 1152 + 1152) + 2 * 1152 * 4304 + 4304 + 1152 + 4 * 1152
    patches = 1152 * (3 * 14 * 14) + 1152 + 4096 * 1152
    assert num_params(specs) == 27 * layer + patches + 2 * 1152 + 1152 + 1152 * 2560
