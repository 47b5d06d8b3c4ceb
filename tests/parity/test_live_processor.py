"""Processors of transformers and ours: the same numbers of the same texts and images."""

import base64
import io

import numpy as np
import PIL.Image
import pytest
from data.processor_folder import write_processor

from gemma import hf

torch = pytest.importorskip("torch", reason="parity needs torch and transformers")
transformers = pytest.importorskip(
    "transformers", reason="parity needs torch and transformers"
)

pytestmark = [
    pytest.mark.parity,
    # Torch and transformers warn about themselves.
    pytest.mark.filterwarnings("ignore"),
]
BOI = "<start_of_image>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_processor(tmp_path_factory.mktemp("processor"))


@pytest.fixture(scope="module")
def pair(folder):
    theirs = transformers.AutoProcessor.from_pretrained(folder)
    assert isinstance(theirs, transformers.Gemma3Processor)
    ours = hf.AutoProcessor.from_pretrained(folder)
    assert isinstance(ours, hf.Gemma3Processor)
    return theirs, ours


def image(height=40, width=61, mode="RGB", seed=0):
    colours = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    rng = np.random.default_rng(seed)
    return PIL.Image.fromarray(
        rng.integers(0, 256, (height, width, *colours), np.uint8)
    )


def same(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        ours = found[name]
        assert type(ours) is type(value), name
        if isinstance(value, list):
            assert len(ours) == len(value), name
            for a, b in zip(ours, value, strict=True):
                np.testing.assert_array_equal(np.asarray(a), np.asarray(b), name)
            continue
        assert ours.dtype == value.dtype, name
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(value), name)


CALLS = {
    "a text": {"text": "the rain"},
    "texts": {"text": ["the rain", "a hill and another hill"], "padding": True},
    "one image": {"text": f"see {BOI} there", "images": image()},
    "first, colours first": {
        "text": f"{BOI}the rain", "images": np.asarray(image()).transpose(2, 0, 1),
    },
    "a list": {"text": f"{BOI}and{BOI}", "images": [image(), image(30, 30, seed=1)]},
    "rows": {
        "text": [f"a {BOI}", "the", f"{BOI} is {BOI}"],
        "images": [[image()], [], [image(seed=1), image(seed=2)]],
        "padding": True,
    },
    "images alone": {"images": [[image(), image(seed=1)]]},
    "transparent": {"text": BOI, "images": image(mode="RGBA")},
    "crops": {
        "text": f"the {BOI} and {BOI}", "images": [image(300, 900), image()],
        "do_pan_and_scan": True,
    },
    "more crops": {
        "text": BOI, "do_pan_and_scan": True, "pan_and_scan_max_num_crops": 5,
        "pan_and_scan_min_crop_size": 20, "images": image(210, 40),
        "pan_and_scan_min_ratio_to_activate": 1.5,
    },
    "sizes": {"text": BOI, "images": image(), "size": {"height": 28, "width": 28}},
    "dicts": {
        "text": ["the", "the river"],
        "text_kwargs": {"padding": "max_length", "max_length": 20},
    },
    "no types": {"text": "a", "return_mm_token_type_ids": False},
}  # fmt: skip


@pytest.mark.parametrize("kind", [None, "np", "pt"])
@pytest.mark.parametrize("call", CALLS)
def test_calls(call, kind, pair):
    theirs, ours = pair
    options = {**CALLS[call], "return_tensors": kind}
    same(ours(**options), theirs(**options))


def png():
    file = io.BytesIO()
    image().save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


SYSTEM = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
QUESTION = {
    "role": "user",
    "content": [
        {"type": "image", "image": image()},
        {"type": "text", "text": " What is it? "},
    ],
}
ANSWER = {"role": "assistant", "content": [{"type": "text", "text": "the sea"}]}
TWO = {
    "role": "user",
    "content": [
        {"type": "text", "text": "And"},
        {"type": "image", "base64": png()},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png()}"}},
    ],
}
CONVERSATIONS = {
    "one": [QUESTION],
    "several turns": [SYSTEM, QUESTION, ANSWER, TWO],
    "text": [{"role": "user", "content": "Who are you?"}],
}
CHATS = {
    "text": {},
    "opened": {"add_generation_prompt": True},
    "ids": {"tokenize": True},
    "arrays": {
        "tokenize": True, "return_dict": True, "return_tensors": "pt",
        "add_generation_prompt": True,
    },
    "options": {
        "tokenize": True, "return_dict": True, "padding": "max_length",
        "max_length": 120, "processor_kwargs": {"return_tensors": "np"},
    },
}  # fmt: skip


@pytest.mark.parametrize("options", CHATS)
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_conversations(name, options, pair):
    theirs, ours = pair
    found, expected = (
        processor.apply_chat_template(
            [dict(message) for message in CONVERSATIONS[name]], **CHATS[options]
        )
        for processor in (ours, theirs)
    )
    if isinstance(expected, str | list):
        assert found == expected
    else:
        same(found, expected)


def test_conversations_side_by_side(pair):
    options = {"tokenize": True, "return_dict": True, "return_tensors": "np"}
    options |= {"padding": True, "add_generation_prompt": True}
    found, expected = (
        processor.apply_chat_template(
            [[dict(m) for m in rows] for rows in CONVERSATIONS.values()], **options
        )
        for processor in reversed(pair)
    )
    same(found, expected)


def test_transformers_reads_what_is_saved(pair, tmp_path):
    theirs, ours = pair
    ours.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gemma3"}')
    call = CALLS["rows"] | {"return_tensors": "np"}
    expected = theirs(**call)
    same(transformers.AutoProcessor.from_pretrained(tmp_path)(**call), expected)
    same(hf.AutoProcessor.from_pretrained(tmp_path)(**call), expected)


def test_what_transformers_5_saved_is_read(pair, tmp_path):
    theirs, ours = pair
    theirs.save_pretrained(tmp_path)
    call = CALLS["one image"] | {"return_tensors": "np"}
    same(hf.AutoProcessor.from_pretrained(tmp_path)(**call), ours(**call))


def test_decoding(pair):
    theirs, ours = pair
    ids = theirs(**CALLS["rows"])["input_ids"]
    for skip in (True, False):
        assert ours.batch_decode(ids, skip_special_tokens=skip) == theirs.batch_decode(
            ids, skip_special_tokens=skip
        )
    found = ours.post_process_image_text_to_text(ids)
    assert found == theirs.post_process_image_text_to_text(ids)
