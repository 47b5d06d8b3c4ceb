"""Save, then load: the same, from every format that there is.

(text, with images, classifiers) x (folder, Orbax, GGUF) x (tokenizer.json,
tokenizer.model, that of a GGUF file).
"""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gemma import gm, hf
from gemma.gm.nn import gemma3_config
from gemma.gm.vision import VisionConfig

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[1] / "data"
TEMPLATE = "{{ bos_token }}{{ messages[0]['content'] }}"
TEXT = "<start_of_turn>user\nHello  there\n\n<end_of_turn>é" + " " * 40
SOFT, TOKENS_PER_IMAGE, SIDE = 262_144, 1, 28
# As wide as blocks of GGUF and the eyes of the family need.
WITH_EYES = gemma3_config(
    num_layers=2, embed_dim=32, hidden_dim=32, num_heads=2, num_kv_heads=1, head_dim=8,
    window=6, vocab_size=480,
    vision=VisionConfig(
        image_size=SIDE, patch_size=7, embed_dim=32, hidden_dim=32, num_layers=1,
        num_heads=2, tokens_per_image=TOKENS_PER_IMAGE, soft_token=SOFT,
    ),
)  # fmt: skip
CONFIGS = {
    "text": dataclasses.replace(WITH_EYES, vision=None),
    "images": WITH_EYES,
}
KINDS = {
    "text": hf.Gemma3ForCausalLM,
    "images": hf.Gemma3ForConditionalGeneration,
    "classifier": hf.Gemma3TextForSequenceClassification,
}


def source_of(what, format, vocabulary, tiny_of, path):
    """Writes a model in a format, with a tokenizer; returns its path."""
    tiny = tiny_of(CONFIGS.get(what, CONFIGS["text"]))
    weights = gm.weights.flatten(tiny.params)

    def read(name, rows=None):
        weight = np.asarray(weights[name])
        return weight if rows is None else weight[rows.start : rows.stop]

    stated = {"tokenizer_class": "GemmaTokenizer", "chat_template": TEMPLATE}
    files = {
        f"tokenizer.{vocabulary}": (DATA / f"tiny_tokenizer.{vocabulary}").read_bytes(),
        "tokenizer_config.json": json.dumps(stated).encode(),
        "generation_config.json": b'{"eos_token_id": [1, 6, 9]}',
    }
    if format == "huggingface":
        gm.ckpts.save_model(path, tiny.model, tiny.params, files=files)
    elif format == "orbax":
        gm.ckpts.save_orbax(path, tiny.model, read, dtype="float32", files=files)
    else:
        path.mkdir()
        gm.ckpts.save_gguf(
            path / "model.gguf",
            tiny.model,
            read,
            tokenizer=gm.text.Tokenizer.from_path(
                DATA / f"tiny_tokenizer.{vocabulary}"
            ),
            chat_template=TEMPLATE,
            metadata={"tokenizer.ggml.eot_token_id": 9},
        )
        return path / "model.gguf"
    return path


def load(kind, path):
    if kind is not hf.Gemma3TextForSequenceClassification:
        return kind.from_pretrained(path, dtype="float32")
    config = hf.Gemma3TextConfig.from_pretrained(path)
    labels = {0: "a", 1: "b", 2: "c"}
    if config.id2label != labels:
        with pytest.warns(UserWarning, match="is no classifier yet"):
            return kind.from_pretrained(path, dtype="float32", id2label=labels)
    return kind.from_pretrained(path, dtype="float32")


def output_of(model):
    if isinstance(model, hf.Gemma3ForConditionalGeneration):
        ids = np.array([[2, 31, 77, *[SOFT] * TOKENS_PER_IMAGE, 9]])
        pixels = np.random.default_rng(0).uniform(-1, 1, (1, 3, SIDE, SIDE))
        return model(ids, pixel_values=pixels.astype(np.float32), use_cache=False)
    return model(np.array([[2, 31, 77, 140, 9]]), use_cache=False)


@pytest.mark.parametrize("vocabulary", ["json", "model"])
@pytest.mark.parametrize("format", ["huggingface", "orbax", "gguf"])
@pytest.mark.parametrize("what", KINDS)
def test_saved_and_loaded_is_the_same(what, format, vocabulary, tiny_of, tmp_path):
    source = source_of(what, format, vocabulary, tiny_of, tmp_path / "from")
    model, tokenizer = (
        load(KINDS[what], source),
        hf.AutoTokenizer.from_pretrained(source),
    )
    model.save_pretrained(tmp_path / "to")
    again = load(KINDS[what], tmp_path / "to")
    assert np.array_equal(output_of(again).logits, output_of(model).logits)
    assert again.transformer.config == model.transformer.config
    assert again.config.id2label == model.config.id2label
    same_tokenizers(hf.AutoTokenizer.from_pretrained(tmp_path / "to"), tokenizer)
    if what != "classifier":
        ends = set(model.generation_config.stop_ids)
        assert set(again.generation_config.stop_ids) == ends >= {1, 9}
    shutil.rmtree(tmp_path / "from")
    tokenizer_alone(tmp_path)


def same_tokenizers(found, expected):
    assert found(TEXT).input_ids == expected(TEXT).input_ids
    assert found.special_tokens_map == expected.special_tokens_map
    for skip in (False, True):
        texts = {
            t.decode(range(480), skip_special_tokens=skip) for t in (found, expected)
        }
        assert len(texts) == 1


def tokenizer_alone(path):
    """A folder that was saved into is a source, and so is one of a tokenizer alone."""
    tokenizer = hf.AutoTokenizer.from_pretrained(path / "to")
    tokenizer.save_pretrained(path / "alone")
    same_tokenizers(hf.AutoTokenizer.from_pretrained(path / "alone"), tokenizer)
    templates = [
        (folder / "chat_template.jinja").read_text()
        if (folder / "chat_template.jinja").exists()
        else json.loads((folder / "tokenizer_config.json").read_text())["chat_template"]
        for folder in (path / "to", path / "alone")
    ]
    assert templates == [TEMPLATE, TEMPLATE]
