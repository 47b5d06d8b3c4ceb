"""Processors: what transformers does not have, and what is refused.

The numbers are compared with those of transformers in tests/parity.
"""

import json

import numpy as np
import pytest
from data.processor_folder import BOI, write_processor

from gemma import gm, hf

IMAGE = np.random.default_rng(3).integers(0, 256, (30, 41, 3), np.uint8)
MESSAGE = {
    "role": "user",
    "content": [
        {"type": "image", "image": IMAGE},
        {"type": "text", "text": "What is it?"},
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_processor(tmp_path_factory.mktemp("processor"))


@pytest.fixture(scope="module")
def processor(folder):
    return hf.AutoProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def model():
    config = hf.Gemma3Config(
        text_config={
            "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
            "vocab_size": 488, "sliding_window": 8,
        },
        vision_config={
            "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
            "num_attention_heads": 2, "image_size": 56, "patch_size": 14,
        },
        mm_tokens_per_image=4, image_token_index=481, boi_token_index=7,
        eoi_token_index=480, eos_token_id=1,
    )  # fmt: skip
    return hf.Gemma3ForConditionalGeneration(config)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jax", "np"])
def test_a_model_takes_what_a_processor_returns(kind, folder, model):
    processor = hf.AutoProcessor.from_pretrained(folder, image_mean=0.5, image_std=0.5)
    inputs = processor.apply_chat_template(
        [MESSAGE],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors=kind,
    )
    assert inputs["pixel_values"].shape == (1, 3, 56, 56)
    assert inputs["token_type_ids"].sum() == 4
    ids = model.generate(**inputs, max_new_tokens=3, do_sample=False, eos_token_id=[])
    length = inputs["input_ids"].shape[1]
    assert ids.shape == (1, length + 3)
    last = model(**inputs).logits[0, -1].argmax()
    assert ids[0, length] == last
    assert len(processor.batch_decode(ids[:, length:])) == 1


def test_the_config_says_sizes_where_no_file_of_the_processor_does(folder, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    stated = {
        "model_type": "gemma3", "mm_tokens_per_image": 9,
        "vision_config": {"image_size": 42},
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(stated))
    found = hf.Gemma3Processor.from_pretrained(tmp_path)
    assert found.image_seq_length == 9
    assert found.image_processor.size == {"height": 42, "width": 42}


def test_a_checkpoint_of_text_has_a_tokenizer_only(tiny_folder):
    folder = tiny_folder("gemma3_mqa")
    found = hf.AutoProcessor.from_pretrained(folder, padding_side="right")
    assert isinstance(found, hf.GemmaTokenizer)
    with pytest.raises(ValueError, match=r"no vision encoder.*AutoTokenizer"):
        hf.Gemma3Processor.from_pretrained(folder)


def test_a_vocabulary_without_tokens_of_images(tiny_folder):
    tokenizer = hf.AutoTokenizer.from_pretrained(tiny_folder("gemma3_mqa"))
    with pytest.raises(ValueError, match="has no <end_of_image>"):
        hf.Gemma3Processor(hf.Gemma3ImageProcessor(), tokenizer)


def test_options_of_from_pretrained(folder):
    found = hf.AutoProcessor.from_pretrained(
        folder, use_fast=True, padding_side="right", size=28, image_seq_length=1
    )
    encoded = found(text=[BOI, "a hill"], images=[[IMAGE], []], padding=True)
    assert encoded["pixel_values"][0].shape == (3, 28, 28)
    assert encoded["attention_mask"][1][-1] == 0
    assert sum(map(sum, encoded["token_type_ids"])) == 1


REFUSED = {
    "an image too few": (
        {"text": f"{BOI}{BOI}", "images": IMAGE},
        ValueError,
        r"\[2\] places for images \(<start_of_image>\), and there are \[1\]",
    ),
    "a place only": ({"text": BOI}, ValueError, "images"),
    "an image only": ({"text": "in", "images": IMAGE}, ValueError, "images"),
    "a flat list for texts": (
        {"text": [BOI, BOI], "images": [IMAGE, IMAGE]},
        ValueError,
        "a list of images for each text",
    ),
    "nothing": ({}, ValueError, "neither a text nor an image"),
    "text of another kind": ({"text": [["in"]]}, TypeError, "text is a str"),
    "floats": (
        {"text": BOI, "images": IMAGE / 255},
        gm.vision.ImageError,
        "float64; they must be uint8",
    ),
    "a download": (
        {"text": BOI, "images": "https://example.org/a.png"},
        gm.vision.ImageError,
        "nothing is downloaded",
    ),
    "a cut image": (
        {"text": BOI, "images": IMAGE, "truncation": True, "max_length": 4},
        ValueError,
        "Truncation cuts an image",
    ),
    "no square": (
        {"text": BOI, "images": IMAGE, "size": {"height": 28, "width": 56}},
        ValueError,
        "a square is needed",
    ),
    "a deviation of 0": (
        {"text": BOI, "images": IMAGE, "image_std": 0},
        ValueError,
        "image_std is 0",
    ),
    "twice": (
        {"text": "in", "padding": True, "text_kwargs": {"padding": True}},
        ValueError,
        "'padding' was passed twice",
    ),
    "a video": ({"text": "in", "videos": [IMAGE]}, TypeError, "(?s)videos=.*cannot be"),
    "unknown": ({"text": "in", "colour": 1}, TypeError, "'colour' has no equal"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, processor):
    options, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        processor(**options)


def test_an_image_that_a_message_lacks(processor):
    with pytest.raises(ValueError, match=r"1.*there are.*0"):
        processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}]}], tokenize=True
        )


def test_a_message_of_broken_base64(processor):
    broken = [{"type": "image", "base64": "?"}]
    with pytest.raises(ValueError, match="no base64"):
        processor.apply_chat_template(
            [{"role": "user", "content": broken}], tokenize=True
        )
