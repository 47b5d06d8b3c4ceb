"""Models of `gemma.hf`: what transformers does not have, and what is refused."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

from gemma import gm, hf

IDS = np.array([[2, 31, 77, 9, 140, 12], [2, 55, 8, 90, 14, 7]])


@pytest.fixture(scope="module")
def lm(tiny_folder):
    return hf.GemmaForCausalLM.from_pretrained(
        tiny_folder("gemma1_mqa"), dtype="float32"
    )


def logits(model, params=None, ids=IDS):
    return model(ids, params=params, use_cache=False).logits


def test_logits_are_those_of_gm(lm, tiny_model):
    expected = tiny_model("gemma1_mqa").apply(jnp.asarray(IDS, jnp.int32)).logits
    assert_close(logits(lm), expected, law="cached")


def test_jit(lm):
    compiled = jax.jit(lambda ids, params: lm(ids, params=params).logits)
    assert_close(compiled(jnp.asarray(IDS), lm.params), logits(lm), law="cached")


def test_vmap_over_models(lm):
    doubled = jax.tree.map(lambda w: jnp.stack([w, 2 * w]), lm.params)
    both = jax.vmap(lambda params: logits(lm, params))(doubled)
    assert_close(both[0], logits(lm), law="cached")
    assert not np.allclose(both[1], both[0], atol=1e-2)


@pytest.mark.slow
def test_grad_is_that_of_gm(lm):
    loss = lambda params: lm(IDS, labels=IDS, params=params).loss  # noqa: E731
    found = jax.jit(jax.grad(loss))(lm.params)

    def expected_loss(params):
        tokens = jnp.asarray(IDS, jnp.int32)
        out = lm.transformer.apply({"params": params}, tokens)
        return gm.losses.next_token_cross_entropy(out.logits, tokens)

    expected = jax.jit(jax.grad(expected_loss))(lm.params)
    for path, weight in gm.weights.flatten(expected).items():
        assert_close(gm.weights.flatten(found)[path], weight, law="cached")


def test_random_weights_are_as_wide_as_the_config_says(tiny_folder):
    config = hf.AutoConfig.from_pretrained(
        tiny_folder("gemma1_mqa"), initializer_range=0.5
    )
    params = hf.GemmaForCausalLM(config).params
    spread = np.std(params["embedder"]["input_embedding"])
    assert 0.45 < spread < 0.55


SHARDED = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from gemma import hf

assert len(jax.devices()) == 4
lm = hf.GemmaForCausalLM.from_pretrained(sys.argv[1], dtype="float32")
rows = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
ids = jnp.asarray(np.arange(8 * 6).reshape(8, 6) + 7)
whole = NamedSharding(rows.mesh, PartitionSpec())
expected = np.asarray(lm(ids).logits)
params = jax.device_put(lm.params, whole)
found = lm(jax.device_put(ids, rows), params=params, use_cache=False).logits
assert len(found.sharding.device_set) == 4, found.sharding
np.testing.assert_allclose(found, expected, atol=1e-4)
"""


@pytest.mark.slow
def test_batch_over_four_devices(tiny_folder):
    flags = "--xla_force_host_platform_device_count=4"
    subprocess.run(
        [sys.executable, "-c", SHARDED, tiny_folder("gemma1_mqa")],
        env={**os.environ, "XLA_FLAGS": flags},
        check=True,
    )


def test_cache_of_a_fixed_size_goes_through_jit(lm):
    step = jax.jit(lambda ids, cache: lm(ids, past_key_values=cache))
    cache, found = lm.init_cache(2, 16), []
    for i in range(6):
        out = step(jnp.asarray(IDS[:, i : i + 1]), cache)
        cache = out.past_key_values
        found.append(out.logits[:, 0])
    assert_close(jnp.stack(found, axis=1), logits(lm), law="cached")


def test_outputs_are_mappings_and_tuples():
    output = hf.GemmaForCausalLM(tiny_config())(IDS % 100, use_cache=False)
    assert list(output) == ["logits"]
    assert output["logits"] is output.logits is output[0] is output.to_tuple()[0]
    assert output.get("loss") is None
    with pytest.raises(KeyError, match="'loss' is not there; logits are"):
        output["loss"]


def tiny_config(**fields):
    return hf.GemmaConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=1, head_dim=8,
        num_attention_heads=2, num_key_value_heads=1, vocab_size=100, **fields,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["gemma1_mqa", "gemma2_gqa", "gemma3_mqa"])
def test_auto_finds_the_class(kind, tiny_folder):
    number = kind[5].replace("1", "")
    model = hf.AutoModelForCausalLM.from_pretrained(tiny_folder(kind))
    assert type(model).__name__ == f"Gemma{number}ForCausalLM"
    base = hf.AutoModel.from_config(model.config)
    assert type(base).__name__ == f"Gemma{number}{'Text' * (number == '3')}Model"


def test_auto_class_without_such_a_model(tiny_folder):
    with pytest.raises(ValueError, match="no model for a Gemma3TextConfig; it has Gem"):
        hf.AutoModelForTokenClassification.from_pretrained(tiny_folder("gemma3_mqa"))


@pytest.mark.slow
@pytest.mark.embedded
def test_other_formats_are_read_too(embedded_path):
    model = hf.AutoModelForCausalLM.from_pretrained(embedded_path)
    tokenizer = hf.AutoTokenizer.from_pretrained(embedded_path)
    ids = tokenizer("The capital of France is", return_tensors="np")["input_ids"]
    found = model.generate(ids, max_new_tokens=5, do_sample=False)
    assert model.generation_config.stop_ids == [1, 106]
    sampler = gm.text.Sampler(
        model=model.transformer, params=model.params, tokenizer=tokenizer.tokenizer
    )
    expected = sampler.generate(ids[0].tolist(), max_new_tokens=5)
    assert found[0, ids.shape[1] :].tolist() == list(expected.token_ids)


@pytest.mark.parametrize("kind", ["Sequence", "Token"])
def test_classifier_saved_and_loaded_is_the_same(kind, tmp_path):
    cls = getattr(hf, f"GemmaFor{kind}Classification")
    model = cls(tiny_config(id2label={0: "bad", 1: "good", 2: "best"}))
    model.save_pretrained(tmp_path / "c")
    again = cls.from_pretrained(tmp_path / "c", dtype="float32")
    assert again.config.id2label[2] == "best"
    ids = IDS % 100
    assert_close(again(ids).logits, model(ids).logits, law="identical")


def test_classifier_of_another_kind(tmp_path):
    hf.GemmaForSequenceClassification(tiny_config()).save_pretrained(tmp_path / "c")
    with pytest.raises(gm.ckpts.CheckpointError, match=r"lacks tensor 'score\.bias'"):
        hf.GemmaForTokenClassification.from_pretrained(tmp_path / "c")


def test_classifier_with_other_labels(tmp_path):
    hf.GemmaForSequenceClassification(tiny_config()).save_pretrained(tmp_path / "c")
    with pytest.raises(
        gm.ckpts.CheckpointError, match=r"shape \(2, 16\); \(5, 16\) is"
    ):
        hf.GemmaForSequenceClassification.from_pretrained(tmp_path / "c", num_labels=5)


def test_saving_into_a_folder_keeps_what_else_is_there(lm, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "config.json").write_text("old")
    lm.save_pretrained(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "tokenizer.model").exists()
    again = hf.AutoModelForCausalLM.from_pretrained(tmp_path, dtype="float32")
    assert_close(logits(again), logits(lm), law="identical")


def test_saving_over_another_model_leaves_none_of_its_weights(tmp_path):
    small = hf.GemmaForCausalLM(tiny_config())
    small.save_pretrained(tmp_path / "m", max_shard_size=2000)
    assert len(list((tmp_path / "m").glob("*.safetensors"))) > 2
    other = hf.GemmaForCausalLM(tiny_config())
    other.params = jax.tree.map(lambda weight: weight + 1, other.params)
    other.save_pretrained(tmp_path / "m")
    again = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype="float32")
    table, expected = (m.get_input_embeddings().weight for m in (again, other))
    assert_close(table, expected, law="identical")


def test_config_may_change_what_is_computed(tiny_folder):
    folder = tiny_folder("gemma2_gqa")
    model = hf.AutoModelForCausalLM.from_pretrained(folder, sliding_window=2)
    assert model.transformer.config.layers[0].window == 2
    assert model.config.sliding_window == 2


def test_more_rows_change_no_logits_of_the_others(tmp_path):
    model = hf.GemmaForCausalLM(tiny_config())
    before = model(IDS % 100).logits
    embeddings = model.resize_token_embeddings(104)
    assert embeddings.weight.shape == (104, 16)
    assert_close(model(IDS % 100).logits[..., :100], before, law="cached")
    assert_close(embeddings.weight[103], embeddings.weight[:100].mean(0), law="cached")
    model.save_pretrained(tmp_path / "m")
    again = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    assert again.config.vocab_size == 104
    model.resize_token_embeddings(100)
    assert_close(model(IDS % 100).logits, before, law="cached")


def test_packed_rows_are_not_resized(tiny_folder):
    model = hf.GemmaForCausalLM.from_pretrained(
        tiny_folder("gemma1_mqa"), load_in_8bit=True
    )
    with pytest.raises(ValueError, match="Rows of packed weights cannot be added"):
        model.resize_token_embeddings(500)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"trust_remote_code": True}, TypeError, "code of a checkpoint is never run"),
        ({"dtype": "int7"}, ValueError, "dtype is 'int7'; a float dtype is needed"),
        ({"hiden_size": 3}, TypeError, "Did you mean 'hidden_size'"),
        ({"attn_implementation": "flash"}, TypeError, "one implementation"),
        ({"use_safetensors": False}, TypeError, "pickled weights are never read"),
        ({"load_in_4bit": True, "load_in_8bit": True}, ValueError, "not both"),
        (
            {"quantization_config": {"bnb_4bit_use_double_quant": True}},
            TypeError,
            "bnb_4bit_use_double_quant.*cannot be honoured",
        ),
        ({"device_map": {"layer_0": 0}}, ValueError, "parts of the model"),
        ({"device": "tpu:3"}, ValueError, "no device 'tpu:3' here"),
        ({"device": 99}, ValueError, "no device '.*:99' here"),
    ],
)
def test_options_that_cannot_be_honoured(options, error, message, tiny_folder):
    with pytest.raises(error, match=message):
        hf.GemmaForCausalLM.from_pretrained(tiny_folder("gemma1_mqa"), **options)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ({}, ValueError, "exactly one of input_ids and inputs_embeds"),
        ({"input_ids": IDS[0]}, ValueError, "needs an axis for the batch"),
        (
            {"input_ids": IDS, "attention_mask": np.ones((2, 2, 6, 6))},
            ValueError,
            r"with four axes it is \[2, 1, 6, 6\]",
        ),
        ({"input_ids": IDS, "pixel_values": 1}, TypeError, "takes no 'pixel_values'"),
        (
            {"input_ids": IDS, "output_attentions": True, "use_cache": True},
            ValueError,
            "output_attentions goes over whole sequences",
        ),
        (
            {"input_ids": IDS, "labels": IDS, "logits_to_keep": 2},
            ValueError,
            "loss needs all logits",
        ),
        (
            {"input_ids": IDS, "position_ids": IDS * 0 + 3, "use_cache": True},
            ValueError,
            "position_ids do not go on after",
        ),
    ],
)
def test_inputs_that_cannot_be_done(inputs, error, message, lm):
    with pytest.raises(error, match=message):
        lm(**inputs)


def test_config_of_another_class():
    with pytest.raises(TypeError, match="takes a GemmaConfig; found a Gemma2Config"):
        hf.GemmaModel(hf.Gemma2Config())


def test_types_of_a_text_are_zeros(lm):
    found = lm(IDS, token_type_ids=np.zeros_like(IDS)).logits
    assert_close(found, lm(IDS).logits, law="cached")
    with pytest.raises(ValueError, match="token_type_ids do not say what input_ids"):
        lm(IDS, token_type_ids=np.ones_like(IDS))
