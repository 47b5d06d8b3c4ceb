"""Folders that we save, read by transformers: the same ids, templates and logits."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from data.fetch_tokenizers import folder_of

from gemma import gm, hf

torch = pytest.importorskip("torch", reason="parity needs torch and transformers")
transformers = pytest.importorskip(
    "transformers", reason="parity needs torch and transformers"
)

pytestmark = [
    pytest.mark.parity,
    pytest.mark.slow,
    # Torch and transformers warn about themselves.
    pytest.mark.filterwarnings("ignore"),
]
DATA = Path(__file__).parents[1] / "data"
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n"
    "{{ m['content'] }}<end_of_turn>\n{% endfor %}"
)
TEXTS = [
    "<start_of_turn>user\nHi  there<end_of_turn>\n\n\n<bos>",
    "def f(x):\n\treturn  x" + " " * 40,
    "é😀 مرحبا",
]
MESSAGES = [{"role": "user", "content": "Hello there"}]


def make_folder(kind, path):
    """Writes a tokenizer of some kind; returns where it is read from."""
    path.mkdir()
    if kind == "gguf":
        model = gm.nn.Transformer(
            gm.nn.gemma3_config(
                num_layers=1,
                embed_dim=32,
                hidden_dim=32,
                num_heads=2,
                num_kv_heads=1,
                head_dim=16,
                vocab_size=480,
            )
        )
        rng = np.random.default_rng(0)
        specs = gm.weights.flatten(model.specs())
        gm.ckpts.save_gguf(
            path / "model.gguf",
            model,
            lambda name: rng.normal(size=specs[name].shape).astype(np.float32),
            tokenizer=gm.text.Tokenizer.from_path(DATA / "tiny_tokenizer.model"),
            chat_template=TEMPLATE,
        )
        return path / "model.gguf"
    shutil.copy(DATA / f"tiny_tokenizer.{kind}", path / f"tokenizer.{kind}")
    stated = {"tokenizer_class": "GemmaTokenizer", "chat_template": TEMPLATE}
    stated |= {"add_bos_token": True}
    (path / "tokenizer_config.json").write_text(json.dumps(stated))
    return path


def same_tokenizers(theirs, ours):
    for text in TEXTS:
        ids = ours(text).input_ids
        assert theirs(text).input_ids == ids
        for skip in (False, True):
            assert theirs.decode(ids, skip_special_tokens=skip) == ours.decode(
                ids, skip_special_tokens=skip
            )
    assert theirs.special_tokens_map == ours.special_tokens_map
    assert theirs.all_special_tokens == ours.all_special_tokens
    for name in ("padding_side", "model_max_length"):
        assert getattr(theirs, name) == getattr(ours, name)


@pytest.mark.parametrize("kind", ["json", "model", "gguf"])
def test_tokenizers(kind, tmp_path):
    ours = hf.AutoTokenizer.from_pretrained(make_folder(kind, tmp_path / "from"))
    ours.save_pretrained(tmp_path / "to")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "to")
    same_tokenizers(theirs, ours)
    same_tokenizers(theirs, hf.AutoTokenizer.from_pretrained(tmp_path / "to"))
    assert theirs.chat_template == TEMPLATE
    text = theirs.apply_chat_template(MESSAGES, tokenize=False)
    assert text == ours.apply_chat_template(MESSAGES, tokenize=False)


@pytest.mark.parametrize("kind", ["json", "model", "gguf"])
def test_tokenizers_that_were_changed(kind, tmp_path):
    ours = hf.AutoTokenizer.from_pretrained(make_folder(kind, tmp_path / "from"))
    ours.padding_side, ours.add_eos_token = "right", True
    ours.pad_token, ours.model_max_length = "<mask>", 12
    ours.save_pretrained(tmp_path / "to")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "to")
    again = hf.AutoTokenizer.from_pretrained(tmp_path / "to")
    same_tokenizers(theirs, again)
    assert again("Hello").input_ids == ours("Hello").input_ids
    batch = {"text": ["Hello there", "a"], "padding": True}
    assert dict(theirs(**batch)) == dict(ours(**batch)) == dict(again(**batch))


@pytest.mark.parametrize("family", ["gemma1", "gemma3"])
@pytest.mark.parametrize("is_made", [False, True])
def test_published_vocabularies(family, is_made, tmp_path):
    folder = folder_of(family)
    if not folder.exists():
        pytest.skip(f"The tokenizer of {family} is not at {folder}.")
    ours = hf.AutoTokenizer.from_pretrained(folder)
    ours.save_pretrained(tmp_path)
    if is_made:
        made = gm.ckpts.tokenizer_json(ours.tokenizer.vocabulary)
        (tmp_path / "tokenizer.json").write_bytes(made)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = TEXTS if is_made or family == "gemma3" else TEXTS[1:]
    for text in texts:
        assert theirs(text).input_ids == ours(text).input_ids
    assert theirs.special_tokens_map == ours.special_tokens_map
    if family == "gemma3":
        before = transformers.AutoTokenizer.from_pretrained(folder)
        assert theirs.apply_chat_template(MESSAGES) == before.apply_chat_template(
            MESSAGES
        )


@pytest.mark.parametrize("save", ["save_model", "save_pretrained"])
def test_models_from_gguf_files(save, tmp_path):
    path = make_folder("gguf", tmp_path / "from")
    ours = hf.AutoModelForCausalLM.from_pretrained(path, dtype="float32")
    if save == "save_model":
        gm.ckpts.save_model(tmp_path / "to", ours.transformer, ours.params)
    else:
        ours.save_pretrained(tmp_path / "to")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "to")
    same_tokenizers(tokenizer, hf.AutoTokenizer.from_pretrained(path))
    assert tokenizer.chat_template == TEMPLATE
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "to", dtype=torch.float32
    )
    ids = tokenizer(TEXTS[0], return_tensors="pt").input_ids
    expected = theirs(ids).logits.detach().numpy()
    found = ours(ids).logits.numpy()
    np.testing.assert_allclose(found, expected, atol=2e-4, rtol=1e-4)
    assert set(theirs.generation_config.eos_token_id) == {1, 6}
