"""Gemma 3 with eyes, in transformers and here: what it makes of prompts with images.

Needs torch and transformers; `make parity` installs them.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

from gemma import gm
from gemma.gm.text import Sampler
from gemma.gm.vision import prepare_image

torch = pytest.importorskip("torch", reason="parity needs torch and transformers")
transformers = pytest.importorskip(
    "transformers", reason="parity needs torch and transformers"
)

from shapes import GLOBAL, LOCAL, random_model  # noqa: E402

pytestmark = [
    pytest.mark.parity,
    # Torch and transformers warn about themselves.
    pytest.mark.filterwarnings("ignore"),
]
SEED, SOFT, TOKENS_PER_IMAGE = 1000, 479, 4
# Shorter than two images, longer than one.
WINDOW = 6


def config():
    """Local and global layers; an image is longer than half a window."""
    text = transformers.Gemma3TextConfig(
        vocab_size=480, hidden_size=32, intermediate_size=48, num_hidden_layers=3,
        head_dim=8, num_attention_heads=4, num_key_value_heads=2,
        query_pre_attn_scalar=8, sliding_window=WINDOW, max_position_embeddings=96,
        layer_types=[LOCAL, GLOBAL, LOCAL], pad_token_id=0, eos_token_id=1,
        bos_token_id=2,
    )  # fmt: skip
    return transformers.Gemma3Config(
        text_config=text.to_dict(),
        vision_config={
            "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2,
            "num_attention_heads": 4, "image_size": 56, "patch_size": 14,
            "vision_use_head": False,
        },
        mm_tokens_per_image=TOKENS_PER_IMAGE, boi_token_index=477, eoi_token_index=478,
        image_token_index=SOFT, pad_token_id=0, eos_token_id=1, bos_token_id=2,
        attn_implementation="eager",
    )  # fmt: skip


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Their model, and ours from the folder that they wrote."""
    theirs = random_model(config(), seed=SEED)
    folder = tmp_path_factory.mktemp("eyes")
    theirs.save_pretrained(folder)
    model, params = gm.ckpts.load_model(folder, dtype=jnp.float32)
    return theirs, model, params


def pictures(num: int) -> list[np.ndarray]:
    rng = np.random.default_rng(SEED)
    return [rng.integers(0, 256, (30 + 9 * i, 41, 3), np.uint8) for i in range(num)]


def prompt(parts: str) -> list[int]:
    """Returns tokens: a letter is some text, a star an image."""
    rng, ids = np.random.default_rng(len(parts)), [2]
    for part in parts:
        if part == "*":
            ids += [477, *[SOFT] * TOKENS_PER_IMAGE, 478]
        else:
            ids += rng.integers(5, 470, 3).tolist()
    return ids


def pixels_of(images, vision):
    return np.stack([prepare_image(image, vision) for image in images])


def their_inputs(prompts, images, vision):
    """Pads on the left, as they do; token types say where the images are."""
    longest = max(map(len, prompts))
    ids = np.array([[0] * (longest - len(p)) + p for p in prompts])
    mask = np.array([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    inputs = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
    inputs["token_type_ids"] = torch.tensor((ids == SOFT).astype(int))
    if images:
        pixels = pixels_of(images, vision).transpose(0, 3, 1, 2).astype(np.float32)
        inputs["pixel_values"] = torch.tensor((pixels / 255 - 0.5) / 0.5)
    return inputs


@functools.partial(jax.jit, static_argnums=0)
def apply(model, params, tokens, images):
    return model.apply({"params": params}, tokens, images=images).logits


# Text before, between and after; images side by side; more than a window of them.
PROMPTS = ["abc", "*", "a*", "*b", "a*b", "a*b*c*d", "***", "ab*cdefgh*"]


@pytest.mark.slow
@pytest.mark.parametrize("parts", PROMPTS)
def test_logits(parts, pair):
    theirs, model, params = pair
    images, ids = pictures(parts.count("*")), prompt(parts)
    with torch.no_grad():
        inputs = their_inputs([ids], images, model.config.vision)
        expected = theirs(**inputs).logits.numpy()
    ours = pixels_of(images, model.config.vision) if images else None
    tokens = np.array([ids], np.int32)
    assert_close(apply(model, params, tokens, ours), expected, law="parity")


def sampler_of(pair, tiny_tokenizer, **options) -> Sampler:
    _, model, params = pair
    return Sampler(
        model=model,
        params=params,
        tokenizer=tiny_tokenizer,
        cache_length=96,
        prefill_chunk_length=8,
        **options,
    )


@pytest.mark.slow
def test_greedy_answers_to_a_batch_with_and_without_images(pair, tiny_tokenizer):
    """Through the cache, in chunks, rows of all kinds together and each alone."""
    theirs, model, _ = pair
    images = [pictures(parts.count("*")) for parts in PROMPTS]
    prompts = [prompt(parts) for parts in PROMPTS]
    sampler = sampler_of(pair, tiny_tokenizer)
    options = {"max_new_tokens": 10, "forbidden_tokens": [1, 477, 478]}
    found = sampler.generate(prompts, images=images, **options)
    for ids, its_images, generation in zip(prompts, images, found, strict=True):
        inputs = their_inputs([ids], its_images, model.config.vision)
        with torch.no_grad():
            expected = theirs.generate(
                **inputs,
                max_new_tokens=10,
                do_sample=False,
                suppress_tokens=[1, 477, 478, SOFT],
            )
        answer = expected[0, len(ids) :].tolist()
        length = len(generation.token_ids)  # the tokenizer may know another end
        assert list(generation.token_ids) == answer[:length]
        alone = sampler.generate(ids, images=its_images, **options)
        assert alone == generation


@pytest.mark.slow
def test_our_folder_there(pair, tmp_path):
    """What save_model writes of a model with eyes, transformers reads."""
    theirs, model, params = pair
    gm.ckpts.save_model(tmp_path / "saved", model, params, dtype=jnp.float32)
    again = transformers.Gemma3ForConditionalGeneration.from_pretrained(
        tmp_path / "saved", dtype=torch.float32
    )
    expected = theirs.state_dict()
    found = again.state_dict()
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name].numpy(), value.numpy(), name)


@pytest.mark.slow
def test_cached_equals_uncached(pair, tiny_tokenizer):
    """Each token of an answer is the best of one pass over all before it."""
    _, model, params = pair
    images, ids = pictures(3), prompt("a*b*c*d")
    generation = sampler_of(pair, tiny_tokenizer).generate(
        ids, images=images, max_new_tokens=12
    )
    whole = np.array([[*ids, *generation.token_ids]], np.int32)
    logits = np.array(
        apply(model, params, whole, pixels_of(images, model.config.vision))
    )
    logits[:, :, SOFT] = -np.inf
    best = logits[0].argmax(axis=1)[len(ids) - 1 : -1]
    assert list(generation.token_ids) == best.tolist()
