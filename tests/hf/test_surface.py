"""What users of transformers wrote, as they wrote it: promised_surface, section 3."""

import importlib.util

import jax.numpy as jnp
import pytest

from gemma.hf import (
    AutoTokenizer,
    FlaxGemmaForCausalLM,
    FlaxGemmaModel,
    GemmaConfig,
    GemmaForCausalLM,
    GemmaForTokenClassification,
    GemmaModel,
    GemmaTokenizerFast,
    pipeline,
)

pytestmark = pytest.mark.slow
TENSORS = [
    "np",
    "jax",
    # `make parity` has torch.
    pytest.param(
        "pt", marks=[pytest.mark.parity, pytest.mark.filterwarnings("ignore")]
    ),
]


@pytest.fixture(params=TENSORS)
def tensors(request) -> str:
    if request.param == "pt" and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    return request.param


@pytest.fixture
def path(tiny_folder):
    return tiny_folder("gemma1_mqa")


def test_promised_surface_3_config_and_model():
    configuration = GemmaConfig()
    model = GemmaModel(configuration)
    configuration = model.config
    assert configuration.hidden_size == 3072
    assert model._params is None  # 17 GB, which nobody has asked for


def test_promised_surface_3_tokenizer(real_folder):
    tokenizer = GemmaTokenizerFast.from_pretrained(real_folder("gemma1"))
    assert tokenizer.encode("Hello this is a test") == [2, 4521, 736, 603, 476, 2121]


def test_promised_surface_3_generate(path, tensors):
    model = GemmaForCausalLM.from_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    inputs = tokenizer("in the house", return_tensors=tensors)
    generate_ids = model.generate(inputs.input_ids, max_length=30)
    text = tokenizer.batch_decode(
        generate_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )[0]
    assert text.startswith("in the house")
    assert generate_ids.shape[1] <= 30


@pytest.mark.filterwarnings("ignore:.*is no classifier yet")
def test_promised_surface_3_token_classification(path, tensors):
    tokenizer = AutoTokenizer.from_pretrained(path)
    inputs = tokenizer("in the house", return_tensors=tensors)
    model = GemmaForTokenClassification.from_pretrained(path)
    logits = model(**inputs).logits
    predicted_token_class_ids = logits.argmax(-1)
    predicted = [model.config.id2label[t.item()] for t in predicted_token_class_ids[0]]
    loss = model(**inputs, labels=predicted_token_class_ids).loss
    assert len(predicted) == inputs.input_ids.shape[1]
    assert set(predicted) <= {"LABEL_0", "LABEL_1"}
    assert 0 < loss.item() < 0.7  # below that of a coin, since the labels are its own


def test_promised_surface_3_flax_models(path):
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = FlaxGemmaModel.from_pretrained(path)
    outputs = model(**tokenizer("in the house", return_tensors="jax"))
    assert outputs.last_hidden_state.shape[-1] == 32
    model = FlaxGemmaForCausalLM.from_pretrained(path)
    logits = model(**tokenizer("in", return_tensors="np")).logits[:, -1]
    assert logits.shape == (1, 480)


def test_promised_surface_3_flax_generate(path):
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.padding_side = "left"
    model, params = FlaxGemmaForCausalLM.from_pretrained(
        path, dtype=jnp.bfloat16, revision="flax", _do_init=False
    )
    inputs = tokenizer(["in", "in the house"], return_tensors="np", padding=True)
    output = model.generate(inputs, params=params, max_new_tokens=20, do_sample=False)
    texts = tokenizer.batch_decode(output.sequences, skip_special_tokens=True)
    assert texts[1].startswith("in the house")
    assert model._params is None
    assert params["embedder"]["input_embedding"].dtype == jnp.bfloat16


def test_promised_surface_3_pipeline(path):
    pipe = pipeline(
        "text-generation",
        model=path,
        model_kwargs={"torch_dtype": "torch.bfloat16"},
        device="cpu",
    )
    prompt = pipe.tokenizer.apply_chat_template(
        [{"role": "user", "content": "Who are you? Please, answer in pirate-speak."}],
        tokenize=False,
        add_generation_prompt=True,
    )
    outputs = pipe(
        prompt,
        max_new_tokens=25,
        add_special_tokens=True,
        do_sample=True,
        temperature=0.7,
        top_k=50,
        top_p=0.95,
    )
    assert outputs[0]["generated_text"].startswith(prompt)
    assert isinstance(outputs[0]["generated_text"][len(prompt) :], str)


@pytest.mark.parametrize("bits", ["load_in_4bit", "load_in_8bit"])
def test_promised_surface_3_pipeline_quantized(path, bits):
    pipe = pipeline(
        "text-generation",
        model=path,
        model_kwargs={"quantization_config": {bits: True}},
    )
    kind = pipe.model.params["layer_0"]["mlp"]["up"].kind
    assert kind.bits == (4 if bits == "load_in_4bit" else 8)
    assert pipe("in the house", max_new_tokens=3)[0]["generated_text"]


def test_device_that_is_not_there(path):
    with pytest.raises(ValueError, match=r"no device 'cuda' here; JAX has .*cpu"):
        pipeline("text-generation", model=path, device="cuda")


def test_sequence_classifier_is_a_coin_before_training(path):
    with pytest.warns(UserWarning, match="is no classifier yet"):
        GemmaForTokenClassification.from_pretrained(path, num_labels=3)
