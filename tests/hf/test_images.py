"""Models of `gemma.hf` that see: what transformers does not have, and what is refused."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

from gemma import gm, hf
from gemma.gm.nn import AttentionType, gemma3_config
from gemma.gm.vision import VisionConfig, soft_tokens

SOFT, TOKENS_PER_IMAGE, SIDE = 480, 4, 28
VISION = VisionConfig(
    image_size=SIDE, patch_size=7, embed_dim=16, hidden_dim=24, num_layers=1,
    num_heads=2, tokens_per_image=TOKENS_PER_IMAGE, soft_token=SOFT,
)  # fmt: skip
SEEING = gemma3_config(
    num_layers=2, embed_dim=16, hidden_dim=24, num_heads=2, num_kv_heads=1, head_dim=8,
    window=6, vocab_size=488, vision=VISION,
    attention_types=(AttentionType.LOCAL, AttentionType.GLOBAL),
)  # fmt: skip
IMAGE = [SOFT] * TOKENS_PER_IMAGE
IDS = np.array([[2, 31, 481, *IMAGE, 482, 9, 481, *IMAGE, 482, 12]])
TEXT = np.array([[2, 31, 77, 9, 140, 12], [2, 55, 8, 90, 14, 7]])


def levels(num_images: int) -> np.ndarray:
    """Returns images of 8 bits, colours last."""
    shape = (num_images, SIDE, SIDE, 3)
    return np.random.default_rng(5).integers(0, 256, shape, np.uint8)


def pixels(num_images: int) -> np.ndarray:
    """Returns what a processor makes of them."""
    floats = (levels(num_images) / 255 - 0.5) / 0.5
    return floats.transpose(0, 3, 1, 2).astype(np.float32)


PIXELS = pixels(2)


@pytest.fixture(scope="module")
def tiny(tiny_of):
    return tiny_of(SEEING)


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    made = tmp_path_factory.mktemp("folders") / "eyes"
    gm.ckpts.save_model(made, tiny.model, tiny.params)
    return made


@pytest.fixture(scope="module")
def model(folder):
    return hf.Gemma3ForConditionalGeneration.from_pretrained(folder, dtype="float32")


@pytest.fixture(scope="module")
def blind(folder):
    """A model whose config has no eyes."""
    text = hf.Gemma3TextConfig.from_pretrained(folder)
    return hf.Gemma3ForConditionalGeneration(hf.Gemma3Config(text_config=text))


def test_logits_are_those_of_gm(model, tiny):
    tokens = jnp.asarray(IDS, jnp.int32)
    expected = tiny.apply(tokens, images=levels(2)).logits
    assert_close(model(IDS, PIXELS, use_cache=False).logits, expected, law="cached")


def test_arrays_of_numpy_go_in_and_those_of_jax_come_out(model):
    found = model(IDS, pixel_values=PIXELS)
    assert isinstance(found.logits, jax.Array)
    assert isinstance(found.image_hidden_states, jax.Array)
    assert found.image_hidden_states.shape == (2, TOKENS_PER_IMAGE, 16)


def test_jit_over_pixels(model):
    compiled = jax.jit(lambda pixels: model(IDS, pixel_values=pixels).logits)
    assert_close(compiled(PIXELS), model(IDS, PIXELS).logits, law="cached")


def test_jit_over_all(model):
    compiled = jax.jit(
        lambda ids, pixels, params: model(ids, pixels, params=params).logits
    )
    found = compiled(jnp.asarray(IDS), PIXELS, model.params)
    assert_close(found, model(IDS, PIXELS).logits, law="cached")


@pytest.mark.slow
def test_each_image_has_a_gradient(model):
    loss = lambda pixels: model(IDS, pixels, labels=IDS).loss  # noqa: E731
    found = np.asarray(jax.jit(jax.grad(loss))(PIXELS))
    assert np.isfinite(found).all()
    assert (abs(found).max(axis=(1, 2, 3)) > 1e-6).all()


@pytest.mark.slow
def test_text_after_images_goes_on_from_the_cache(model):
    whole = model(IDS, PIXELS, use_cache=False).logits
    first = model(IDS[:, :-2], PIXELS)
    assert_close(first.logits, whole[:, :-2], law="cached")
    for place in (-2, -1):
        ids = IDS[:, [place]]
        step = model(ids, past_key_values=first.past_key_values)
        assert step.image_hidden_states is None
        assert_close(step.logits[:, 0], whole[:, place], law="cached")


@pytest.mark.slow
def test_images_of_a_second_turn(model):
    whole = model(IDS, PIXELS, use_cache=False).logits
    past = model(IDS[:, :8], PIXELS[:1]).past_key_values
    second = model(IDS[:, 8:], PIXELS[1:], past_key_values=past)
    assert_close(second.logits, whole[:, 8:], law="cached")


def padded(rows, side):
    """Returns ids of one length, and what of them is no padding."""
    width = max(map(len, rows))
    left = [(width - len(row)) * (side == "left") for row in rows]
    pads = [(n, width - len(row) - n) for n, row in zip(left, rows, strict=True)]
    each = list(zip(rows, pads, strict=True))
    ids = [np.pad(row, pad) for row, pad in each]
    mask = [np.pad(np.ones(len(row), int), pad) for row, pad in each]
    return np.stack(ids), np.stack(mask)


@pytest.mark.slow
@pytest.mark.parametrize("use_cache", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_with_and_without_images(side, use_cache, model):
    rows = [IDS[0, :9], TEXT[0, :4], IDS[0, 9:]]
    images = [PIXELS[:1], None, PIXELS[1:]]
    ids, mask = padded(rows, side)
    found = model(ids, PIXELS, mask, use_cache=use_cache).logits
    for row, real in enumerate(mask == 1):
        alone = model(rows[row][None], images[row]).logits
        assert_close(found[row][real], alone[0], law="padding")


def test_text_is_read_as_by_the_text_model(model, folder):
    text = hf.Gemma3ForCausalLM.from_pretrained(folder, dtype="float32")
    assert "vision" not in text.params
    assert_close(model(TEXT).logits, text(TEXT).logits, law="identical")
    zeros = np.zeros_like(TEXT)
    found = model(TEXT, token_type_ids=zeros).logits
    assert_close(found, text(TEXT).logits, law="identical")


def test_types_that_say_what_ids_say(model):
    expected = model(IDS, PIXELS).logits
    types = (IDS == SOFT).astype(int)
    found = model(IDS, PIXELS, token_type_ids=types).logits
    assert_close(found, expected, law="identical")


def test_model_without_its_head(model):
    found = model.model(IDS, PIXELS)
    assert isinstance(model.model, hf.Gemma3Model)
    expected = model(IDS, PIXELS)
    assert_close(model.lm_head(found[0]), expected.logits, law="cached")
    images = expected.image_hidden_states
    assert_close(found.image_hidden_states, images, law="identical")


def test_saved_and_loaded_is_the_same(model, tmp_path):
    model.save_pretrained(tmp_path / "m")
    again = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype="float32")
    assert type(again) is hf.Gemma3ForConditionalGeneration
    assert again.num_parameters() == model.num_parameters()
    expected = model(IDS, PIXELS).logits
    assert_close(again(IDS, PIXELS).logits, expected, law="identical")


def test_auto_finds_the_classes_that_see(folder):
    found = hf.AutoModelForImageTextToText.from_pretrained(folder)
    assert type(found) is hf.Gemma3ForConditionalGeneration
    assert type(hf.AutoModel.from_config(found.config)) is hf.Gemma3Model


def test_text_models_are_none_that_see():
    with pytest.raises(ValueError, match="no model for a Gemma3TextConfig; it has Gem"):
        hf.AutoModelForImageTextToText.from_config(hf.Gemma3TextConfig())


def greedy(model, ids, **options):
    return np.asarray(model.generate(ids, do_sample=False, **options))


@pytest.mark.slow
def test_generate_is_what_passes_find(model):
    found = greedy(
        model, IDS, pixel_values=PIXELS, max_new_tokens=6, suppress_tokens=[SOFT]
    )
    logits = np.array(model(found, PIXELS).logits)
    logits[:, :, SOFT] = -np.inf
    best = logits.argmax(axis=-1)[0, IDS.shape[1] - 1 : -1]
    assert found[0, IDS.shape[1] :].tolist() == best.tolist()


@pytest.mark.slow
def test_each_row_has_its_images(model):
    """Rows of one batch, several answers to each, get what they would get alone."""
    rows = [IDS[0, :8], np.pad(TEXT[0], (2, 0)), np.array([2, 481, *IMAGE, 482, 7])]
    mask = np.array([[1] * 8, [0] * 2 + [1] * 6, [1] * 8])
    ask = functools.partial(greedy, model, max_new_tokens=4)
    found = ask(
        np.stack(rows),
        attention_mask=mask,
        pixel_values=PIXELS,
        num_return_sequences=2,
        eos_token_id=None,
    )
    for row, images in ((0, PIXELS[:1]), (1, None), (2, PIXELS[1:])):
        ids = rows[row][mask[row] == 1][None]
        alone = ask(ids, pixel_values=images, eos_token_id=None)[:, ids.shape[1] :]
        answers = found[2 * row : 2 * row + 2, 8:]
        assert answers.tolist() == [alone[0].tolist()] * 2


@pytest.mark.slow
def test_what_a_processor_returns_is_a_prompt(model):
    types = (IDS == SOFT).astype(int)
    inputs = {"input_ids": IDS, "pixel_values": PIXELS, "token_type_ids": types}
    expected = greedy(model, IDS, pixel_values=PIXELS, max_new_tokens=3).tolist()
    assert greedy(model, inputs, max_new_tokens=3).tolist() == expected
    assert greedy(model, None, **inputs, max_new_tokens=3).tolist() == expected


def test_floats_are_the_levels_they_were_made_of(tiny):
    see = jax.jit(functools.partial(soft_tokens, config=VISION))
    params, images = tiny.params["vision"], levels(2)
    floats = PIXELS.transpose(0, 2, 3, 1)
    expected = see(params, images=images)
    assert_close(see(params, images=floats), expected, law="batched")


TOO_FEW = r"have 8 soft tokens \(480\), and pixel_values 1 images: these need 4, 4 each"
NOT_SAID = "do not say what input_ids say: 1 for each soft token"
REFUSED = [
    ({"pixel_values": PIXELS[:1]}, TOO_FEW),
    ({}, "have 8 soft tokens .* and pixel_values 0 images"),
    ({"input_ids": TEXT, "pixel_values": PIXELS}, "0 soft tokens .* 2 images"),
    ({"pixel_values": PIXELS[:, :, 1:]}, r"float32\[2, 3, 27, 28\]; the eyes need"),
    ({"pixel_values": levels(2)}, r"uint8\[2, 28, 28, 3\]; .*3, 28, 28\], as the proc"),
    ({"pixel_values": PIXELS, "token_type_ids": IDS * 0}, NOT_SAID),
    ({"pixel_values": PIXELS, "token_type_ids": IDS[:, 1:]}, NOT_SAID),
]  # fmt: skip


@pytest.mark.parametrize(("inputs", "message"), REFUSED)
def test_images_that_do_not_fit(inputs, message, model):
    given = {"input_ids": IDS, **inputs}
    for run in (model, functools.partial(model.generate, max_new_tokens=2)):
        with pytest.raises(ValueError, match=message):
            run(**given)


def test_images_beside_embeddings(model):
    embeddings = model.get_input_embeddings()(TEXT)
    with pytest.raises(ValueError, match="pixel_values need input_ids"):
        model(inputs_embeds=embeddings, pixel_values=PIXELS)


def test_types_under_jit(model):
    types = (IDS == SOFT).astype(int)
    with pytest.raises(ValueError, match="not under jax"):
        jax.jit(lambda types: model(IDS, PIXELS, token_type_ids=types).logits)(types)


@pytest.mark.parametrize("call", ["__call__", "generate"])
def test_model_without_eyes(call, blind):
    with pytest.raises(ValueError, match="has no eyes: its config has no vision_conf"):
        getattr(blind, call)(input_ids=TEXT, pixel_values=PIXELS)


def test_text_model_is_asked_about_images(folder):
    model = hf.Gemma3ForCausalLM.from_pretrained(folder)
    with pytest.raises(ValueError, match="has no eyes"):
        model.generate({"input_ids": TEXT, "pixel_values": PIXELS})


def test_pixels_that_no_image_of_8_bits_becomes(model):
    with pytest.raises(ValueError, match=r"hold -?0\.\d+, which no image of 8 bits"):
        model.generate(IDS, pixel_values=np.sin(PIXELS))


def test_images_that_touch(model):
    ids = np.array([[2, *IMAGE, *IMAGE, 7]])
    with pytest.raises(ValueError, match=r"8 soft tokens .* stand side by side"):
        model.generate(ids, pixel_values=PIXELS)


def test_soft_tokens_have_no_row_of_their_own(tiny_of):
    small = tiny_of(dataclasses.replace(SEEING, vocab_size=SOFT))
    config = hf.Gemma3Config.from_dict(
        gm.ckpts.config_to_json(small.model.config, "float32")
    )
    model = hf.Gemma3ForConditionalGeneration(config, params=small.params)
    ids = np.array([[2, 31, *IMAGE, 9]])
    found = model(ids, pixel_values=PIXELS[:1], use_cache=False).logits
    assert np.isfinite(found).all()
    past = model(ids[:, :2]).past_key_values
    with pytest.raises(ValueError, match="input_ids have 480, and the embedding"):
        model(ids[:, 2:], past_key_values=past)
