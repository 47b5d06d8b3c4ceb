"""Heads of their own: untied models are read, run and written in each format."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gemma import gm
from gemma.gm.ckpts import CheckpointError, open_checkpoint, save_gguf, save_model
from gemma.gm.nn import Transformer

TOKENS = jnp.array([[2, 5, 9, 30]])


@pytest.fixture(scope="module")
def untied(tiny_model):
    tiny = tiny_model("gemma3_mqa")
    config = dataclasses.replace(tiny.model.config, has_head=True)
    table = tiny.params["embedder"]["input_embedding"]
    head = 0.5 * jax.random.normal(jax.random.key(7), table.shape)
    embedder = {"input_embedding": table, "head": head}
    return Transformer(config), {**tiny.params, "embedder": embedder}


def logits(model, params):
    return np.asarray(model.apply({"params": params}, TOKENS).logits)


def test_logits_come_from_the_head(untied):
    model, params = untied
    out = model.features({"params": params}, TOKENS)
    expected = out.x @ params["embedder"]["head"].T
    np.testing.assert_allclose(logits(*untied), expected, rtol=1e-5, atol=1e-5)


def test_folders_hold_it(untied, tmp_path):
    model, params = untied
    save_model(tmp_path / "m", model, params)
    stated = json.loads((tmp_path / "m" / "config.json").read_text())
    assert stated["tie_word_embeddings"] is False
    read, found = gm.ckpts.load_model(tmp_path / "m", dtype="float32")
    assert read.config == model.config
    np.testing.assert_array_equal(logits(read, found), logits(*untied))


@pytest.mark.parametrize("type_", ["F32", "Q8_0", "Q4_0"])
def test_gguf_files_hold_it(untied, tiny_tokenizer, tmp_path, type_):
    model, params = untied
    weights = gm.weights.flatten(params)
    path = tmp_path / "m.gguf"
    read = lambda ours: np.asarray(weights[ours], np.float32)  # noqa: E731
    save_gguf(path, model, read, type=type_, tokenizer=tiny_tokenizer)
    for dtype in ("float32", "as-stored"):
        again, found = gm.ckpts.load_model(path, dtype=dtype)
        assert again.config == model.config
        expected = logits(*untied)
        error = np.abs(logits(again, found) - expected).max()
        limit = {"F32": 1e-4, "Q8_0": 0.05, "Q4_0": 0.6}[type_]
        assert error < limit * np.abs(expected).max()


def test_a_sampler_looks_for_the_next_token_in_the_head(
    untied, tiny_tokenizer, tmp_path
):
    model, params = untied
    weights = gm.weights.flatten(params)
    path = tmp_path / "m.gguf"
    read = lambda ours: np.asarray(weights[ours], np.float32)  # noqa: E731
    save_gguf(path, model, read, type="Q8_0", tokenizer=tiny_tokenizer)
    sampler = gm.text.Sampler.from_pretrained(path)
    plain = gm.text.Sampler(
        model=sampler.model,
        params=gm.peft.dequantize(sampler.params),
        tokenizer=tiny_tokenizer,
    )
    asked = {"max_new_tokens": 8, "stop_tokens": []}
    ours = sampler.generate([2, 5, 9], **asked).token_ids
    assert ours == plain.generate([2, 5, 9], **asked).token_ids
    tied = dict(
        sampler.params,
        embedder={"input_embedding": sampler.params["embedder"]["input_embedding"]},
    )
    other = gm.text.Sampler(model=model, params=tied, tokenizer=tiny_tokenizer)
    assert ours != other.generate([2, 5, 9], **asked).token_ids


def test_packed_models_hold_it(untied, tmp_path):
    model, params = untied
    packed = gm.peft.quantize(params, "int8")
    assert isinstance(packed["embedder"]["head"], gm.weights.QuantizedArray)
    save_model(tmp_path / "m", model, packed, dtype="as-stored")
    again, found = gm.ckpts.load_model(tmp_path / "m", dtype="as-stored")
    np.testing.assert_array_equal(logits(again, found), logits(model, packed))


def test_deepmind_s_format_has_no_place_for_it(untied, tmp_path):
    model, params = untied
    with pytest.raises(ValueError, match="head of its own"):
        gm.ckpts.save_params(params, tmp_path / "m", model=model)
    assert not (tmp_path / "m").exists()
    with pytest.raises(ValueError, match="head of its own"):
        gm.ckpts.to_deepmind(params, model.config)


def test_an_announced_head_that_is_missing_is_named(untied, tmp_path):
    save_model(tmp_path / "m", *untied)
    file = tmp_path / "m" / "model.safetensors"
    tensors = load_file(file)
    del tensors["lm_head.weight"]
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=r"lacks tensor 'lm_head.weight'"):
        gm.ckpts.load_model(tmp_path / "m")
    # A model without a head, as transformers' AutoModel writes it.
    save_file({n.removeprefix("model."): w for n, w in tensors.items()}, file)
    assert not open_checkpoint(tmp_path / "m").config.has_head


def test_a_head_that_differs_in_one_row_is_not_dropped(untied, tmp_path):
    save_model(tmp_path / "m", *untied)
    file = tmp_path / "m" / "model.safetensors"
    tensors = load_file(file)
    head = tensors["model.embed_tokens.weight"].copy()
    head[101] += 1
    save_file(tensors | {"lm_head.weight": head}, file)
    with pytest.raises(CheckpointError, match=r"'lm_head.weight' .* in most rows"):
        gm.ckpts.load_model(tmp_path / "m")
