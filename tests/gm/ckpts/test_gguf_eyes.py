"""The eyes of a GGUF model: an mmproj file beside it, as llama.cpp's converter writes it.

Or in the file of the model, as Ollama's library has it.
"""

import dataclasses

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gguf_files import MODELS, split, their_tensors, write

from gemma.gm.ckpts import AS_STORED, CheckpointError, load_model, open_checkpoint
from gemma.gm.nn import Transformer
from gemma.gm.vision import VisionConfig
from gemma.gm.weights import flatten

VISION = VisionConfig(
    image_size=56, patch_size=7, embed_dim=32, hidden_dim=48, num_layers=2, num_heads=2,
    tokens_per_image=4, norm_eps=1e-5,
)  # fmt: skip
SEEING = dataclasses.replace(MODELS["gemma3"], vision=VISION)
# Of each layer, ours and theirs.
NAMES = {
    "attn/q": "attn_q", "attn/k": "attn_k", "attn/v": "attn_v", "attn/o": "attn_out",
    "mlp/up": "ffn_up", "mlp/down": "ffn_down", "attn_norm": "ln1", "mlp_norm": "ln2",
    "patch_embedding": "v.patch_embd", "final_norm": "v.post_ln",
}  # fmt: skip
KEYS = {
    "image_size": 56, "patch_size": 7, "embedding_length": 32,
    "feed_forward_length": 48, "block_count": 2, "attention.head_count": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def params(random_params):
    return random_params(Transformer(SEEING), jax.random.key(3))


def their_name(ours: str) -> str:
    """Returns the name of a tensor of the tower."""
    path, _, last = ours.rpartition("/")
    if last.endswith("_bias"):
        path, suffix = f"{path}/{last.removesuffix('_bias')}", "bias"
    elif last in ("scale", "kernel", "bias"):
        suffix = "bias" if last == "bias" else "weight"
    else:
        path, suffix = ours, "weight"
    layer, _, rest = path.partition("/")
    if layer.startswith("layer_"):
        return f"v.blk.{layer.removeprefix('layer_')}.{NAMES[rest]}.{suffix}"
    return f"{NAMES[path]}.{suffix}"


def their_eyes(params) -> dict[str, np.ndarray]:
    tensors = {}
    for ours, weight in flatten(params["vision"]).items():
        weight = np.asarray(weight)
        if ours == "projector/norm":
            tensors["mm.soft_emb_norm.weight"] = weight + np.float32(1)
        elif ours == "projector/weight":
            tensors["mm.input_projection.weight"] = np.ascontiguousarray(weight.T)
        elif ours == "position_embedding":
            tensors["v.position_embd.weight"] = weight
        else:
            name = their_name(ours)
            if name.endswith("bias"):
                weight = weight.reshape(-1)
            elif ".attn_" in name:
                outs = 2 if weight.shape[-1] == 32 and weight.ndim == 3 else 1
                outs = 1 if name.endswith("attn_out.weight") else outs
                weight = weight.reshape(int(np.prod(weight.shape[:outs])), -1)
            tensors[name] = weight
    return tensors


def write_eyes(path, tensors, *, keys=None, projector="gemma3", types=()):
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_string("clip.projector_type", projector)
    writer.add_bool("clip.has_vision_encoder", True)
    for key, value in (KEYS | (keys or {})).items():
        if value is not None:
            writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    for name, values in tensors.items():
        type_ = dict(types).get(name)
        packed = values if type_ is None else gguf.quants.quantize(values, type_)
        writer.add_tensor(name, packed, raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# As the library of Ollama writes a model of 4B and more: one blob, with names and keys of
# its own, no scaling of the positions and a token more than the embedding has rows.
OLLAMA_NAMES = {
    "v.patch_embd.": "v.patch_embedding.", "v.position_embd.": "v.position_embedding.",
    "v.post_ln.": "v.post_layernorm.", ".ln1.": ".layer_norm1.", ".ln2.": ".layer_norm2.",
    ".attn_out.": ".attn_output.", ".ffn_up.": ".mlp.fc1.", ".ffn_down.": ".mlp.fc2.",
    "mm.input_projection.": "mm.mm_input_projection.",
    "mm.soft_emb_norm.": "mm.mm_soft_emb_norm.",
}  # fmt: skip
OLLAMA_KEYS = {f"vision.{key}": value for key, value in KEYS.items()} | {
    "vision.num_channels": 3,
    "vision.attention.layer_norm_epsilon": 1e-5,
    "mm.tokens_per_image": 4,
    "context_length": 131_072,
    "rope.scaling.type": None,
    "rope.scaling.factor": None,
}


def ollama_name(name: str) -> str:
    for theirs, ollamas in OLLAMA_NAMES.items():
        name = name.replace(theirs, ollamas)
    return name


def write_ollama(path, params, *, keys=None):
    text = {k: v for k, v in params.items() if k != "vision"}
    eyes = {ollama_name(name): w for name, w in their_eyes(params).items()}
    keys = OLLAMA_KEYS | (keys or {})
    config, tensors = MODELS["gemma3"], their_tensors(text) | eyes
    return write(path, config, tensors, keys=keys, num_tokens=config.vocab_size + 1)


@pytest.fixture
def folder(params, tmp_path):
    """A folder with a model and its eyes."""
    text = {k: v for k, v in params.items() if k != "vision"}
    write(tmp_path / "model.gguf", MODELS["gemma3"], their_tensors(text))
    write_eyes(tmp_path / "mmproj-model-f32.gguf", their_eyes(params))
    return tmp_path


@pytest.mark.parametrize("name", [".", "model.gguf"])
def test_eyes_beside_a_model_are_its_own(folder, params, name):
    model, loaded = load_model(folder / name, dtype=np.float32)
    assert model.config == SEEING
    for path, weight in flatten(loaded).items():
        expected = np.asarray(flatten(params)[path])
        np.testing.assert_allclose(weight, expected, atol=3e-7, err_msg=path)


def test_early_files_that_exchanged_two_names(folder, params):
    tensors = their_eyes(params)
    exchanged = {
        name.replace("ffn_up", "ffn_x")
        .replace("ffn_down", "ffn_up")
        .replace("ffn_x", "ffn_down"): values
        for name, values in tensors.items()
    }
    write_eyes(folder / "mmproj-model-f32.gguf", exchanged)
    _, loaded = load_model(folder, dtype=np.float32)
    layer = loaded["vision"]["layer_1"]["mlp"]
    expected = params["vision"]["layer_1"]["mlp"]
    jax.tree.map(np.testing.assert_array_equal, layer, expected)


def test_text_only_leaves_the_eyes_out(folder):
    checkpoint = open_checkpoint(folder, text_only=True)
    assert checkpoint.config == MODELS["gemma3"]
    assert "vision" not in checkpoint.read_params()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"projector": "llava"}, "holds the eyes of 'llava'; those of 'gemma3' can"),
        ({"keys": {"block_count": None}}, "lacks the key 'clip.vision.block_count'"),
        ({"keys": {"block_count": 3}}, r"lacks tensor 'v\.blk\.2\."),
        ({"keys": {"patch_size": 9}}, "does not describe eyes"),
        ({"keys": {"block_count": 4_000_000_000}}, "num_layers is 4000000000"),
    ],
)
def test_eyes_that_cannot_be_are_refused(folder, params, options, message):
    write_eyes(folder / "mmproj-model-f32.gguf", their_eyes(params), **options)
    with pytest.raises(CheckpointError, match=message):
        load_model(folder)


def logits_of(model, params):
    tokens = jnp.array([[2, 5, *[VISION.soft_token] * 4, 6, 7]], jnp.int32)
    images = np.random.default_rng(0).integers(0, 256, (1, 56, 56, 3), np.uint8)
    return model.apply({"params": params}, tokens, images=jnp.asarray(images)).logits


def test_eyes_of_ollama_are_in_the_file_of_the_model(folder, params, tmp_path):
    blob = write_ollama(tmp_path / "sha256-0c", params)
    expected_model, expected = load_model(folder / "model.gguf", dtype=np.float32)
    model, loaded = load_model(blob, dtype=np.float32)
    assert model.config == dataclasses.replace(SEEING, max_positions=131_072)
    jax.tree.map(np.testing.assert_array_equal, loaded, expected)
    np.testing.assert_array_equal(
        logits_of(model, loaded), logits_of(expected_model, expected)
    )


def test_a_split_file_of_ollama_is_whole(params, tmp_path):
    expected = load_model(write_ollama(tmp_path / "m.gguf", params), dtype=np.float32)
    for path in split(tmp_path / "m.gguf", 50):
        model, loaded = load_model(path, dtype=np.float32)
        assert model.config == expected[0].config
        jax.tree.map(np.testing.assert_array_equal, loaded, expected[1])


def test_text_only_leaves_the_eyes_in_the_file(params, tmp_path):
    blob = write_ollama(tmp_path / "sha256-0c", params)
    checkpoint = open_checkpoint(blob, text_only=True)
    assert checkpoint.config.vision is None
    assert "vision" not in checkpoint.read_params()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"vision.block_count": None}, r"lacks the key 'gemma3\.vision\.block_count'"),
        ({"vision.block_count": 3}, r"lacks tensor 'v\.blk\.2\.layer_norm1"),
        ({"vision.block_count": 1}, r"holds tensor 'v\.blk\.1\."),
        ({"mm.tokens_per_image": 5}, "does not describe eyes: tokens_per_image is 5"),
        ({"mm.tokens_per_image": "many"}, "tokens_per_image is 'many'"),
    ],
)
def test_eyes_of_ollama_that_cannot_be_are_refused(params, tmp_path, keys, message):
    blob = write_ollama(tmp_path / "sha256-0c", params, keys=keys)
    with pytest.raises(CheckpointError, match=message):
        load_model(blob)


@pytest.mark.parametrize(
    "name", ["mm.input_projection.weight", "v.position_embd.weight"]
)
def test_packed_tensors_that_are_no_matrix_of_ours_become_floats(folder, params, name):
    types = {name: gguf.GGMLQuantizationType.Q8_0}
    write_eyes(folder / "mmproj-model-f32.gguf", their_eyes(params), types=types)
    model, stored = load_model(folder, dtype=AS_STORED)
    expected = logits_of(*load_model(folder, dtype=np.float32))
    np.testing.assert_allclose(logits_of(model, stored), expected, atol=1e-5)
