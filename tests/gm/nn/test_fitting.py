"""Models by name and params from files, which need not have the same sizes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma import gm
from gemma.gm.nn import Transformer, fit_to_params, gemma3_config
from gemma.gm.vision import VisionConfig

EYES = VisionConfig(
    image_size=56, patch_size=7, embed_dim=32, hidden_dim=48, num_layers=1, num_heads=2,
    tokens_per_image=4, soft_token=490,
)  # fmt: skip


def resized(tiny, rows: int) -> Transformer:
    config = dataclasses.replace(tiny.model.config, vocab_size=rows)
    return dataclasses.replace(tiny.model, config=config)


@pytest.mark.parametrize("rows", [470, 544])
def test_rows_of_the_table_are_those_of_the_params(tiny, rows):
    found = fit_to_params(resized(tiny, rows), tiny.params)
    assert found == tiny.model


def test_a_model_that_fits_is_returned_as_it_is(tiny):
    assert fit_to_params(tiny.model, tiny.params) is tiny.model


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("Gemma2_2B", 256_128),
        ("Gemma3_4B", 262_144),
        ("Gemma1_7B", 256_128),
        ("Gemma3_1B", 262_208),
    ],
)
def test_published_models_take_the_rows_of_either_publisher(name, rows):
    model = getattr(gm.nn, name)()
    params = jax.eval_shape(model.init, jax.random.key(0))
    width = model.config.embed_dim
    table = jax.ShapeDtypeStruct((rows, width), jnp.float32)
    params = {**params, "embedder": {"input_embedding": table}}
    found = fit_to_params(model, params).config
    assert found == dataclasses.replace(model.config, vocab_size=rows)


def test_params_without_a_vision_encoder_make_a_model_of_text():
    config = gemma3_config(
        num_layers=1, embed_dim=16, hidden_dim=24, num_heads=2, num_kv_heads=1,
        head_dim=8, vocab_size=50, vision=EYES,
    )  # fmt: skip
    params = dict(Transformer(config).init(jax.random.key(0)))
    assert fit_to_params(Transformer(config), params).config.vision == EYES
    del params["vision"]
    assert fit_to_params(Transformer(config), params).config.vision is None


def test_params_of_another_model(tiny_model):
    one, other = tiny_model("gemma2_gqa"), tiny_model("gemma3_mqa")
    with pytest.raises(
        ValueError, match="params have 'layer_0/attn/query_norm', which is"
    ):
        fit_to_params(one.model, other.params)
    with pytest.raises(ValueError, match="another model: 'embedder/input_embedding'"):
        fit_to_params(other.model, one.params)
    short = {k: v for k, v in other.params.items() if k != "layer_6"}
    with pytest.raises(ValueError, match=r"lack 'layer_6/.*which a gemma3 of 7 layers"):
        fit_to_params(other.model, short)


def test_a_model_of_fewer_layers_does_not_drop_the_others(tiny_model):
    tiny = tiny_model("gemma3_mqa")
    config = dataclasses.replace(tiny.model.config, layers=tiny.model.config.layers[:6])
    with pytest.raises(ValueError, match=r"params have 'layer_6/"):
        fit_to_params(Transformer(config), tiny.params)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [470, 544])
def test_samplers_take_the_rows_of_the_params(
    tiny_model, tiny_sampler, tiny_tokenizer, rows
):
    tiny = tiny_model("gemma3_mqa")
    expected = tiny_sampler("gemma3_mqa").generate("Hello", max_new_tokens=5)
    options = {
        "model": resized(tiny, rows),
        "params": tiny.params,
        "tokenizer": tiny_tokenizer,
        "cache_length": 48,
    }
    sampler = gm.text.Sampler(**options)
    assert sampler.model.config.vocab_size == 480
    assert sampler.generate("Hello", max_new_tokens=5) == expected
    random = gm.text.RandomSampling()
    assert sampler.generate("Hi", sampling=random, rng=1, max_new_tokens=5).token_ids
    chat = gm.text.ChatSampler(**options)
    assert isinstance(chat.chat("Hello", max_new_tokens=5), str)


@pytest.mark.parametrize("rows", [470, 544])
def test_logits_are_as_many_as_rows_of_the_params(tiny, random_tokens, rows):
    tokens = random_tokens((1, 5))
    found = resized(tiny, rows).apply({"params": tiny.params}, tokens).logits
    np.testing.assert_array_equal(
        found, tiny.model.apply({"params": tiny.params}, tokens).logits
    )


@pytest.mark.parametrize("rows", [470, 544])
def test_folders_state_the_rows_that_they_hold(tiny_model, tmp_path, rows):
    tiny = tiny_model("gemma3_mqa")
    gm.ckpts.save_model(tmp_path / "m", resized(tiny, rows), tiny.params)
    assert gm.ckpts.load_config(tmp_path / "m") == tiny.model.config
    pytest.importorskip("orbax.checkpoint")
    gm.ckpts.save_params(tiny.params, tmp_path / "p", model=resized(tiny, rows))
    assert gm.ckpts.load_config(tmp_path / "p") == tiny.model.config
