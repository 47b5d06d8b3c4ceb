"""Models written as GGUF files."""

import dataclasses

import gguf
import jax
import numpy as np
import pytest
from gguf_files import MODELS, their_tensors

from gemma import gm
from gemma.gm.ckpts import (
    GgufFile,
    gguf_rounded,
    load_model,
    open_checkpoint,
    save_gguf,
    save_model,
)
from gemma.gm.nn import AttentionType, RopeConfig, Transformer
from gemma.gm.vision import VisionConfig
from gemma.gm.weights import flatten

VOCAB_SIZE = 480  # of the tiny tokenizer
TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0"]
# Rows of 32 for each matrix but those of mlp/down, which have 48.
CONFIGS = {
    name: dataclasses.replace(
        config,
        vocab_size=VOCAB_SIZE,
        layers=tuple(dataclasses.replace(x, hidden_dim=48) for x in config.layers),
    )
    for name, config in MODELS.items()
}
VISION = VisionConfig(
    image_size=56, patch_size=7, embed_dim=32, hidden_dim=48, num_layers=2, num_heads=2,
    tokens_per_image=4, norm_eps=1e-5,
)  # fmt: skip
SEEING = dataclasses.replace(CONFIGS["gemma3"], vision=VISION)


@pytest.fixture(params=CONFIGS)
def model(request):
    return Transformer(CONFIGS[request.param])


@pytest.fixture
def weights(model, random_params):
    return weights_of(model, random_params)


def weights_of(model, random_params):
    """Returns weights by our names, arrays of numpy."""
    flat = flatten(random_params(model, jax.random.key(3)))
    return {name: np.asarray(weight) for name, weight in flat.items()}


@pytest.fixture
def save(tiny_tokenizer, tmp_path):
    """A function that writes a model with the tiny tokenizer, and returns the path."""

    def call(model, weights, **options):
        path = tmp_path / options.pop("name", "made.gguf")
        tokenizer = options.pop("tokenizer", tiny_tokenizer)
        save_gguf(path, model, weights.__getitem__, tokenizer=tokenizer, **options)
        return path

    return call


def assert_weights_equal(path, expected):
    loaded = open_checkpoint(path)
    loaded.check()
    for ours, weight in expected.items():
        found = loaded.read_weight(ours, np.float32)
        np.testing.assert_array_equal(found, weight, err_msg=ours)


@pytest.mark.parametrize("type_", TYPES)
def test_the_config_comes_back(model, weights, save, type_):
    assert gm.ckpts.load_config(save(model, weights, type=type_)) == model.config


def test_matrices_of_float32_come_back_bit_for_bit(model, weights, save):
    matrices = {name: w for name, w in weights.items() if w.ndim > 1}
    assert_weights_equal(save(model, weights), matrices)


@pytest.mark.parametrize("type_", TYPES)
def test_norms_come_back_within_a_rounding_of_one_more(model, weights, save, type_):
    loaded = open_checkpoint(save(model, weights, type=type_))
    for ours, weight in weights.items():
        if weight.ndim == 1:
            found = loaded.read_weight(ours, np.float32)
            rounding = np.spacing(np.abs(weight + np.float32(1))) + np.spacing(weight)
            assert (np.abs(found - weight) <= np.abs(rounding)).all(), ours


def test_norms_of_bfloat16_come_back_bit_for_bit(model, weights, save):
    """As those of published models are."""
    narrow = {
        name: w.astype("bfloat16").astype("float32") for name, w in weights.items()
    }
    assert_weights_equal(save(model, narrow), narrow)


@pytest.mark.parametrize("type_", TYPES)
def test_weights_come_back_rounded(model, weights, save, type_):
    rounded = {
        ours: gguf_rounded(model, ours, weight, type_)
        for ours, weight in weights.items()
    }
    assert_weights_equal(save(model, weights, type=type_), rounded)


@pytest.mark.slow
def test_logits_are_those_of_the_model(model, save, tiny_of, random_tokens):
    tiny, tokens = tiny_of(model.config), random_tokens((1, 12))
    weights = {name: np.asarray(w) for name, w in flatten(tiny.params).items()}
    _, params = load_model(save(model, weights), dtype="float32")
    found = dataclasses.replace(tiny, params=params).apply(tokens).logits
    # Norms lose a bit or two when one is added.
    np.testing.assert_allclose(found, tiny.apply(tokens).logits, atol=1e-4)


def test_a_folder_comes_back_bit_for_bit(model, random_params, save, tmp_path):
    """Hugging Face to GGUF and back, in the numbers of published models."""
    params = jax.tree.map(
        lambda w: w.astype("bfloat16"), random_params(model, jax.random.key(3))
    )
    save_model(tmp_path / "before", model, params)
    before = open_checkpoint(tmp_path / "before")
    wide = {name: before.read_weight(name, np.float32) for name in before.names}
    made = open_checkpoint(save(model, wide))
    gm.ckpts.save_weights(
        tmp_path / "after",
        made.model,
        lambda ours: made.read_weight(ours, np.float32),
        dtype="bfloat16",
    )
    for name in ("config.json", "model.safetensors"):
        found = (tmp_path / "after" / name).read_bytes()
        assert found == (tmp_path / "before" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("type_", "types"),
    [
        ("F32", {"F32"}),
        ("F16", {"F32", "F16"}),
        ("BF16", {"F32", "BF16"}),
        ("Q8_0", {"F32", "F16", "Q8_0"}),
        ("Q4_0", {"F32", "F16", "Q8_0", "Q4_0"}),
    ],
)
def test_matrices_have_the_type_that_was_asked_for(model, weights, save, type_, types):
    tensors = GgufFile(save(model, weights, type=type_)).tensors
    assert {tensor.block.name for tensor in tensors.values()} == types
    assert tensors["blk.0.attn_q.weight"].block.name == type_


def test_rows_that_are_no_multiple_of_a_block_become_f16(model, weights, save):
    tensors = GgufFile(save(model, weights, type="Q8_0")).tensors
    assert tensors["blk.0.ffn_down.weight"].shape == (64, 48)
    assert tensors["blk.0.ffn_down.weight"].block.name == "F16"


def test_the_embedding_keeps_eight_bits(model, weights, save):
    tensors = GgufFile(save(model, weights, type="Q4_0")).tensors
    assert tensors["token_embd.weight"].block.name == "Q8_0"


def test_files_are_as_the_converter_of_llama_cpp_writes_them(model, weights, save):
    """Names, norms one higher, and the keys that say what the model is."""
    path, params = save(model, weights), gm.weights.unflatten(weights)
    found = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
    expected = their_tensors(params)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_the_keys_of_gemma3(random_params, save):
    model = Transformer(CONFIGS["gemma3"])
    metadata = GgufFile(save(model, weights_of(model, random_params))).metadata
    kept = {k: v for k, v in metadata.items() if not k.startswith("tokenizer.")}
    assert kept == {
        "general.architecture": "gemma3",
        "general.type": "model",
        "general.name": "made",
        "general.file_type": 0,
        "general.quantization_version": 2,
        "gemma3.context_length": 200,
        "gemma3.embedding_length": 64,
        "gemma3.block_count": 7,
        "gemma3.feed_forward_length": 48,
        "gemma3.attention.head_count": 4,
        "gemma3.attention.head_count_kv": 2,
        "gemma3.attention.key_length": 32,
        "gemma3.attention.value_length": 32,
        "gemma3.attention.layer_norm_rms_epsilon": np.float32(1e-6),
        "gemma3.attention.sliding_window": 9,
        "gemma3.rope.freq_base": 500_000.0,
        "gemma3.rope.scaling.type": "linear",
        "gemma3.rope.scaling.factor": 8.0,
    }


def test_the_tokenizer_comes_back(model, weights, save, tiny_tokenizer):
    found = gm.text.Tokenizer.from_path(save(model, weights))
    assert found.vocabulary == tiny_tokenizer.vocabulary


def test_rows_without_a_text_change_no_ids(random_params, save, tiny_tokenizer):
    config = dataclasses.replace(CONFIGS["gemma"], vocab_size=VOCAB_SIZE + 9)
    model = Transformer(config)
    path = save(model, weights_of(model, random_params))
    found = gm.text.Tokenizer.from_path(path)
    text = "the quick  brown fox\n\n[PAD480] jumps <start_of_turn>"
    assert found.vocab_size == VOCAB_SIZE + 9
    assert found.encode(text) == tiny_tokenizer.encode(text)


def test_a_token_without_a_text_gets_a_name(model, weights, save, tiny_tokenizer):
    """As the tokenizer.json of some models has."""
    vocabulary = tiny_tokenizer.vocabulary
    kinds = vocabulary.kinds.copy()
    kinds[7] = 5
    pieces = vocabulary.pieces.replaced({7: ""})
    tokenizer = gm.text.Tokenizer(
        dataclasses.replace(vocabulary, pieces=pieces, kinds=kinds)
    )
    metadata = GgufFile(save(model, weights, tokenizer=tokenizer)).metadata
    assert metadata["tokenizer.ggml.tokens"][7] == "[PAD7]"
    assert metadata["tokenizer.ggml.token_type"][7] == gguf.TokenType.UNUSED


def test_chat_template_and_more_keys(model, weights, save):
    options = {"general.name": "Gemma 1b It", "general.sampling.top_k": 64}
    path = save(model, weights, chat_template="{{ x }}", metadata=options)
    metadata = GgufFile(path).metadata
    assert metadata["tokenizer.chat_template"] == "{{ x }}"
    assert {key: metadata[key] for key in options} == options


def test_progress_counts_the_bytes_of_the_tensors(model, weights, save):
    calls = []
    path = save(model, weights, type="Q8_0", progress=lambda *call: calls.append(call))
    tensors = GgufFile(path).tensors.values()
    total = sum(int(np.prod(tensor.packed_shape)) for tensor in tensors)
    assert {call[1] for call in calls} == {total}
    assert calls == sorted(calls)
    assert calls[-1][0] == total


def test_eyes_stand_beside_the_model(random_params, save):
    model = Transformer(SEEING)
    weights = weights_of(model, random_params)
    path = save(model, weights)
    assert open_checkpoint(path).config == SEEING
    rounded = {ours: gguf_rounded(model, ours, w, "F32") for ours, w in weights.items()}
    assert_weights_equal(path, rounded)
    files = [path.name for path in sorted(path.parent.iterdir())]
    assert files == ["made.gguf", "mmproj-made.gguf"]


@pytest.mark.parametrize("type_", TYPES)
def test_what_stands_around_the_layers_of_the_eyes_is_float32(
    random_params, save, type_
):
    model = Transformer(SEEING)
    path = save(model, weights_of(model, random_params), type=type_)
    tensors = GgufFile(path.with_name("mmproj-made.gguf")).tensors
    for name in (
        "v.patch_embd.weight",
        "v.position_embd.weight",
        "mm.input_projection.weight",
    ):
        assert tensors[name].block.name == "F32"
    assert tensors["v.blk.0.attn_q.weight"].block.name == type_


def test_eyes_beside_those_of_another_model_are_refused(random_params, save):
    model = Transformer(SEEING)
    weights = weights_of(model, random_params)
    save(model, weights)
    with pytest.raises(FileExistsError, match="would take it for the eyes of"):
        save(model, weights, name="other.gguf")


def changed(config, **changes):
    """Returns a config with other layers."""
    layers = [dataclasses.replace(layer, **changes) for layer in config.layers]
    return dataclasses.replace(config, layers=tuple(layers))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            changed(CONFIGS["gemma3"], query_scale=0.5),
            "the query_scale of layer 0, 0.5: programs that read the file take 0.1767",
        ),
        (
            changed(CONFIGS["gemma2"], attention_type=AttentionType.GLOBAL),
            "the attention_type of layer 0, global: programs that read the file take lo",
        ),
        (
            changed(CONFIGS["gemma3"], rope=RopeConfig(theta=5e5, factor=8.0)),
            "the rope of layer 0, ",
        ),
        (
            dataclasses.replace(CONFIGS["gemma2"], final_softcap=None),
            "the final_softcap of the model, None: programs that read the file take 30",
        ),
        (
            changed(CONFIGS["gemma2"], attn_softcap=0.1),
            "the attn_softcap of layer 0, 0.1: ",
        ),
        (
            dataclasses.replace(
                SEEING, vision=dataclasses.replace(VISION, soft_token=7)
            ),
            "the soft_token of the eyes, 7: programs that read the file take 262144",
        ),
    ],
)
def test_what_the_format_cannot_state_is_refused(config, words, save, tmp_path):
    with pytest.raises(ValueError, match="Write a Hugging Face folder") as caught:
        save(Transformer(config), {})
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_with_more_tokens_than_rows_is_refused(save, tmp_path):
    config = dataclasses.replace(CONFIGS["gemma"], vocab_size=VOCAB_SIZE - 1)
    with pytest.raises(
        ValueError, match="480 tokens but the model's embedding has 479"
    ):
        save(Transformer(config), {})
    assert list(tmp_path.iterdir()) == []


def test_values_beyond_float16_are_refused(model, weights, save, tmp_path):
    large = weights | {"layer_1/attn/q": weights["layer_1/attn/q"] * np.float32(1e6)}
    with pytest.raises(ValueError, match="Weight 'layer_1/attn/q' has values up to"):
        save(model, large, type="F16")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_type_is_refused(model, save):
    with pytest.raises(ValueError, match="'Q3_K'; choose one of F32, F16, BF16, Q8_0"):
        save(model, {}, type="Q3_K")


@pytest.mark.parametrize("name", ["made", "made.bin", "my-mmproj.gguf"])
def test_names_that_readers_pass_over_are_refused(name, model, save):
    with pytest.raises(ValueError, match="is no name for a model"):
        save(model, {}, name=name)


def test_nothing_is_overwritten(model, save, tmp_path):
    (tmp_path / "made.gguf").write_text("precious")
    with pytest.raises(FileExistsError, match=r"exists\. Choose another name"):
        save(model, {})
    assert (tmp_path / "made.gguf").read_text() == "precious"


def test_a_failure_in_the_middle_leaves_nothing(model, weights, save, tmp_path):
    del weights["final_norm"]
    with pytest.raises(KeyError):
        save(model, weights)
    assert list(tmp_path.iterdir()) == []


def test_whoever_may_read_other_files_may_read_this_one(model, weights, save, tmp_path):
    other = tmp_path / "other"
    other.touch()
    assert save(model, weights).stat().st_mode == other.stat().st_mode


@pytest.mark.slow
@pytest.mark.parametrize("type_", TYPES)
def test_llama_cpp_answers_the_same(
    model, weights, save, tiny_tokenizer, ask_llama, type_
):
    path, prompt = save(model, weights, type=type_), "the quick  brown\nfox"
    asked, answered, _ = ask_llama(path, prompt, 8)
    assert asked == tiny_tokenizer.encode(prompt, add_bos=True)
    sampler = gm.text.Sampler.from_pretrained(path, dtype="float32", cache_length=48)
    found = list(sampler.generate(prompt, max_new_tokens=8).token_ids)
    assert len(found) > 0
    assert answered[: len(found)] == found
