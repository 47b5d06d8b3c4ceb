"""Prompts with images: chunked = whole, batched = alone, a state = a fresh run."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

from gemma.gm import vision
from gemma.gm.ckpts import load_model, save_model
from gemma.gm.dialog import GEMMA3, Image, Turn
from gemma.gm.nn import AttentionType, gemma3_config
from gemma.gm.text import ChatSampler, Sampler
from gemma.gm.text._pictures import expand_images
from gemma.gm.text._prompts import PromptEncoder
from gemma.gm.vision import ImageError, VisionConfig, prepare_image

SOFT, WINDOW = 480, 6
VISION = VisionConfig(
    image_size=28, patch_size=7, embed_dim=16, hidden_dim=24, num_layers=2, num_heads=2,
    tokens_per_image=4, soft_token=SOFT,
)  # fmt: skip
SEEING = gemma3_config(
    num_layers=3, embed_dim=16, hidden_dim=24, num_heads=4, num_kv_heads=2, head_dim=8,
    window=WINDOW, vocab_size=488, vision=VISION,
    attention_types=(AttentionType.LOCAL, AttentionType.GLOBAL, AttentionType.LOCAL),
)  # fmt: skip
LOADED = {"cache_length": 160, "prefill_chunk_length": 8}
TAG = "<start_of_image>"


def picture(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (20 + seed, 33, 3), np.uint8)


@pytest.fixture(scope="module")
def seeing(tiny_of):
    return tiny_of(SEEING)


@pytest.fixture(scope="module")
def sampler(seeing, tiny_tokenizer):
    return Sampler(
        model=seeing.model, params=seeing.params, tokenizer=tiny_tokenizer, **LOADED
    )


@pytest.fixture
def make_chat(seeing, sampler, tiny_tokenizer):
    """A function that returns a chat with a model that sees."""

    def make(**options) -> ChatSampler:
        chat = ChatSampler(
            model=seeing.model,
            params=seeing.params,
            tokenizer=tiny_tokenizer,
            cache_length=LOADED["cache_length"],
            multi_turn=True,
            **options,
        )
        chat._sampler = sampler
        return chat

    return make


@functools.partial(jax.jit, static_argnums=0)
def logits_of(model, params, tokens, images):
    return model.apply({"params": params}, tokens, images=images).logits


def uncached_best(seeing, generation, images) -> list[int]:
    """Returns the best token at each place of an answer, from one pass over all."""
    ids = [*generation.prompt_ids, *generation.token_ids]
    pixels = np.stack([prepare_image(image, VISION) for image in images])
    logits = logits_of(seeing.model, seeing.params, np.array([ids], np.int32), pixels)
    logits = np.array(logits[0])
    logits[:, SOFT:] = -np.inf
    return logits.argmax(axis=1)[len(generation.prompt_ids) - 1 : -1].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("text", [TAG, f"the {TAG} sea {TAG}", f"{TAG}{TAG} roof"])
def test_answers_are_those_of_one_pass_without_a_cache(text, sampler, seeing):
    images = [picture(i) for i in range(text.count(TAG))]
    generation = sampler.generate(text, images=images, max_new_tokens=9)
    assert list(generation.token_ids) == uncached_best(seeing, generation, images)


@pytest.mark.slow
def test_rows_with_and_without_images_answer_like_each_alone(sampler):
    prompts = [f"the {TAG} rain", "the garden and the roof", f"{TAG} a {TAG}"]
    images = [[picture(0)], None, [picture(1), picture(2)]]
    together = sampler.generate(prompts, images=images, max_new_tokens=8)
    for prompt, its_images, expected in zip(prompts, images, together, strict=True):
        alone = sampler.generate(prompt, images=its_images, max_new_tokens=8)
        assert alone == expected
    one, other = (
        sampler.generate(prompts[0], images=image, max_new_tokens=1, num_logprobs=0)
        for image in (picture(0), picture(5))
    )
    assert one.logprobs != other.logprobs, "the image does not matter"


@pytest.mark.slow
def test_tokens_of_an_image_see_one_another(seeing):
    """The last rows of a picture change the vectors of its first token."""
    ids = np.array([[2, 30, *[SOFT] * 4, 31, 32]], np.int32)
    white = np.full((1, 28, 28, 3), 255, np.uint8)
    half = white.copy()
    half[:, 14:] = 0
    a, b = (logits_of(seeing.model, seeing.params, ids, x) for x in (white, half))
    assert np.abs(a - b)[0, 2].max() > 1e-3
    np.testing.assert_array_equal(a[0, :2], b[0, :2])


@pytest.mark.slow
def test_images_of_earlier_turns_stay_in_sight(make_chat, monkeypatch):
    """Chat = a fresh run over the whole conversation; old images are not seen anew."""
    from gemma.gm.text import _stream

    chat, seen = make_chat(), []
    see = _stream.see_image
    monkeypatch.setattr(_stream, "see_image", lambda *a: seen.append(1) or see(*a))
    questions = [
        (f"Option 1: {TAG}\nOption 2: {TAG}\n\nWhich?", [picture(1), picture(2)]),
        ("the rain", None),
        (f"{TAG}", [picture(3)]),
    ]
    for text, images in questions:
        before = chat.conversation
        seen.clear()
        answer = chat.chat(text, images=images, max_new_tokens=7)
        assert len(seen) <= len(images or ())
        whole = before + chat.turns[-2]
        assert chat.sampler.generate(whole, max_new_tokens=7).text == answer


@pytest.mark.slow
def test_another_image_is_another_prompt(sampler):
    """What is known of a prompt ends where the first image differs."""
    text, options = f"a {TAG} b {TAG} c", {"max_new_tokens": 3, "return_state": True}
    state = sampler.sample(text, images=[picture(1), picture(2)], **options).state
    ids = state.prompts[0].token_ids
    second = len(ids) - ids[::-1].index(SOFT) - 4
    for images, length in (
        ([picture(1), picture(3)], second),
        ([picture(3), picture(2)], ids.index(SOFT)),
    ):
        asked = sampler._encode(text, images, None)
        assert state.shared_lengths(asked) == [length]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_saved_and_loaded_is_the_same(dtype, seeing, tmp_path):
    params = jax.tree.map(lambda w: w.astype(dtype), seeing.params)
    save_model(tmp_path / "saved", seeing.model, params)
    model, found = load_model(tmp_path / "saved", dtype=dtype)
    assert model.config == SEEING
    jax.tree.map(np.testing.assert_array_equal, found, params)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["int8", "as-stored"])
def test_eyes_are_not_packed(method, seeing, tmp_path):
    params = jax.tree.map(lambda w: w.astype(jnp.bfloat16), seeing.params)
    save_model(tmp_path / "saved", seeing.model, params)
    _, found = load_model(tmp_path / "saved", dtype=method)
    kernel = found["vision"]["patch_embedding"]["kernel"]
    np.testing.assert_array_equal(kernel, params["vision"]["patch_embedding"]["kernel"])
    assert kernel.dtype == jnp.bfloat16


def test_prompts_are_those_of_the_published_processor(tiny_tokenizer):
    """Blank lines join the newlines beside them; adjacent images share theirs."""
    encoder = PromptEncoder.of(tiny_tokenizer, GEMMA3, VISION, num_rows=SOFT)
    soft = "S" * 4
    for text, expected in {
        f"a {TAG} b": f"a \n\n{TAG}{soft}<end_of_image>\n\n b",
        f"a\n{TAG}\nb": f"a\n\n\n{TAG}{soft}<end_of_image>\n\n\nb",
        f"{TAG}{TAG}": f"\n\n{TAG}{soft}<end_of_image>\n\n\n\n{TAG}{soft}<end_of_image>\n\n",
    }.items():
        found = encoder.encode(text, [picture(1)] * text.count(TAG)).token_ids
        whole = []
        for place, part in enumerate(expected.split(soft)):
            whole += [SOFT] * 4 * (place > 0)
            whole += tiny_tokenizer.encode(part)
        assert found == [tiny_tokenizer.bos_id, *whole]


def test_crops_are_announced_in_words(tiny_tokenizer):
    encoder = PromptEncoder.of(
        tiny_tokenizer, GEMMA3, VISION, num_rows=SOFT, pan_and_scan=True
    )
    wide = np.zeros((300, 900, 3), np.uint8)
    found = encoder.encode(f"See {TAG}", [wide])
    assert len(found.pictures) == 4
    words = "".join(
        part.text for part in expand_images([segment(f"See {TAG}")], [3], GEMMA3)
    )
    one = f"\n\n{TAG}<end_of_image>\n\n"
    assert words == (
        f"See Here is the original image {one} and here are some crops to help you see "
        f"better {one} {one}"
    )


def segment(text):
    from gemma.gm.dialog import Segment

    return Segment(text, is_control=True, role=None)


@pytest.mark.parametrize(
    ("prompt", "images", "message"),
    [
        (f"{TAG} {TAG}", [picture(1)], "2 image placeholders .* and 1 images came"),
        ("no tag", [picture(1)], "0 image placeholders .* and 1 images came"),
        (TAG, None, "1 image placeholders .* and 0 images came"),
        ([2, SOFT, 30], [], "soft tokens of 1 images and 0 images came"),
    ],
)
def test_images_and_placeholders_must_agree(sampler, prompt, images, message):
    with pytest.raises(ValueError, match=message):
        sampler.stream(prompt, images=images)


def test_chat_says_both_numbers_too(make_chat):
    chat = make_chat()
    with pytest.raises(ValueError, match="2 image placeholders and 1 images came"):
        chat.chat(f"{TAG}{TAG}", images=[picture(1)])
    with pytest.raises(ValueError, match="0 image placeholders and 1 images came"):
        chat.chat("what?", images=[picture(1)])
    assert chat.turns == []


@pytest.mark.slow
def test_a_file_or_array_that_has_changed_is_seen_anew(make_chat, monkeypatch):
    """A camera writes into the same array; and each image of a turn is read once."""
    read, read_image = [], vision.read_image
    monkeypatch.setattr(
        vision, "read_image", lambda *a, **o: read.append(1) or read_image(*a, **o)
    )
    chat, frame = make_chat(), picture(1).copy()
    states = []
    for _ in range(2):
        chat.chat(TAG, images=[frame], max_new_tokens=2, multi_turn=False)
        states.append(chat.last_state.prompts[0].pictures[0].digest)
        frame[:] = 255 - frame
    assert states[0] != states[1]
    read.clear()
    chat.chat("the rain", max_new_tokens=2)
    assert read == []
    chat.chat(f"{TAG}{TAG}", images=[picture(2), picture(3)], max_new_tokens=2)
    assert len(read) == 2


def test_an_image_that_cannot_be_read_is_named(make_chat):
    chat = make_chat()
    turn = Turn.user("what?", Image(picture(1)), Image(b"\x89PNG\r\n\x1a\nbroken"))
    with pytest.raises(ImageError, match="Cannot read image 2 of 2"):
        chat.chat(turn)
    assert chat.turns == []


def test_models_without_eyes_say_so(tiny_sampler, tiny_tokenizer, tiny_model):
    sampler = tiny_sampler("gemma3_mqa")
    with pytest.raises(ValueError, match="this model has no eyes"):
        sampler.stream(TAG, images=[picture(1)])
    with pytest.raises(ValueError, match=r"a separate file, mmproj-\*\.gguf"):
        sampler.stream([1, 5], images=[picture(1)])
    tiny = tiny_model("gemma3_mqa")
    with pytest.raises(ValueError, match="has no eyes"):
        tiny.model.apply(
            {"params": tiny.params},
            jnp.ones([1, 3], jnp.int32),
            images=jnp.zeros([1, 28, 28, 3], jnp.uint8),
        )


@pytest.mark.slow
def test_arrays_of_several_images(sampler):
    several = np.stack([picture(1)[:20, :20], picture(2)[:20, :20]])
    text = f"{TAG} and {TAG}"
    expected = sampler.generate(text, images=list(several), max_new_tokens=4)
    assert sampler.generate(text, images=several, max_new_tokens=4) == expected
    batch = sampler.generate([text], images=several[None], max_new_tokens=4)
    assert batch == [expected]


def test_text_only_leaves_the_eyes_out(seeing, tmp_path, random_tokens):
    from gemma.gm.ckpts import open_checkpoint

    save_model(tmp_path / "saved", seeing.model, seeing.params)
    checkpoint = open_checkpoint(tmp_path / "saved", text_only=True)
    assert checkpoint.config == dataclasses.replace(SEEING, vision=None)
    params = checkpoint.read_params(dtype=jnp.float32)
    assert "vision" not in params
    tokens = random_tokens((1, 9))
    found = checkpoint.model.apply({"params": params}, tokens).logits
    assert_close(found, seeing.apply(tokens).logits, law="batched")


def test_chunks_hold_a_whole_image(seeing, tiny_tokenizer):
    """However many tokens an image has, and however short chunks are asked for."""
    sampler = Sampler(
        model=seeing.model,
        params=seeing.params,
        tokenizer=tiny_tokenizer,
        cache_length=40,
        prefill_chunk_length=2,
    )
    assert max(sampler._lengths.chunks) >= VISION.tokens_per_image
