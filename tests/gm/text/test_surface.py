"""What users wrote for chats, as they wrote it: promised_surface, section 2."""

import jax
import numpy as np
import pytest

from gemma import gm

SEEING = gm.nn.gemma3_config(
    num_layers=2, embed_dim=16, hidden_dim=24, num_heads=2, num_kv_heads=1, head_dim=8,
    window=8, vocab_size=480 + 8,
    vision=gm.vision.VisionConfig(
        image_size=28, patch_size=7, embed_dim=16, hidden_dim=24, num_layers=1,
        num_heads=2, tokens_per_image=4, soft_token=480,
    ),
)  # fmt: skip


@pytest.mark.slow
def test_promised_surface_2_chat_sampler(tiny_of, tiny_tokenizer):
    tiny = tiny_of(SEEING)
    model, params = tiny.model, tiny.params
    image1, image2 = np.random.default_rng(0).integers(0, 256, (2, 40, 30, 3), np.uint8)

    sampler = gm.text.ChatSampler(
        model=model, params=params, multi_turn=True, tokenizer=tiny_tokenizer,
        cache_length=1024, max_out_length=8,
    )  # fmt: skip
    output0 = sampler.chat("Write a poem about cats.")
    output1 = sampler.chat("And about dogs.")
    output2 = sampler.chat("Which one do you prefer?")
    sampler.chat(
        "I'm hesitating between:\n\nOption 1: <start_of_image>\nOption 2: "
        "<start_of_image>\n\nAny thoughts ?",
        images=[image1, image2],
    )
    texts = [turn.text for turn in sampler.turns]
    assert [texts[1], texts[3], texts[5]] == [output0, output1, output2]
    assert len(sampler.turns) == 8
    assert "<end_of_turn>" not in output0 + output1 + output2
    drawn = sampler.chat(
        "Again.", sampling=gm.text.RandomSampling(), rng=jax.random.key(1),
        max_new_tokens=3, multi_turn=False,
    )  # fmt: skip
    assert isinstance(drawn, str)
    assert sampler.last_state is not None
    assert isinstance(sampler.sampler, gm.text.Sampler)


@pytest.mark.slow
def test_slots_of_images_that_are_not_used(tiny_of, tiny_tokenizer):
    """A batch of DeepMind's library: [B, N, H, W, C], zeros where a prompt has fewer."""
    tiny = tiny_of(SEEING)
    options = {"tokenizer": tiny_tokenizer, "cache_length": 256}
    sampler = gm.text.Sampler(model=tiny.model, params=tiny.params, **options)
    images = np.random.default_rng(0).integers(1, 256, (2, 2, 40, 30, 3), np.uint8)
    images[1, 1] = 0
    prompts = ["<start_of_image> and <start_of_image>", "it is <start_of_image>"]
    found = sampler.generate(prompts, images=images, max_new_tokens=4)
    expected = sampler.generate(
        prompts, images=[list(images[0]), [images[1, 0]]], max_new_tokens=4
    )
    assert found == expected
    chat = gm.text.ChatSampler(model=tiny.model, params=tiny.params, **options)
    chat.chat("it is <start_of_image>", images=images[1], max_new_tokens=2)
    assert sum(part.__class__.__name__ == "Image" for part in chat.turns[0].parts) == 1
    with pytest.raises(ValueError, match="2 images came"):
        chat.chat("it is <start_of_image>", images=images[0], max_new_tokens=2)
    with pytest.raises(ValueError, match=r"1 image placeholders .* and 2 images came"):
        sampler.generate("it is <start_of_image>", images=images[0])
