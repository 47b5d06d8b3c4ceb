"""Folders that lack something, are spelled another way, or are another program's."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gemma.gm.ckpts import CheckpointError, load_model, open_checkpoint
from gemma.gm.weights import flatten

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 12\n"


def keep(folder, wanted) -> None:
    path = folder / "model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if wanted(k)}, path)


def state(folder, **fields) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def refused(path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path).param_structs()
    return str(caught.value)


def test_any_tensor_that_is_missing_is_named_before_structs_are_made(folder):
    path = folder / "model.safetensors"
    whole = load_file(path)
    for lacking in whole:
        save_file({k: v for k, v in whole.items() if k != lacking}, path)
        assert f"lacks tensor '{lacking}'" in refused(folder)


@pytest.mark.parametrize("prefix", ["model.", "language_model.model.", ""])
def test_a_missing_embedding_is_named_as_its_neighbours_are_spelled(folder, prefix):
    path = folder / "model.safetensors"
    save_file({prefix + k[6:]: v for k, v in load_file(path).items()}, path)
    keep(folder, lambda name: "embed_tokens" not in name)
    assert f"lacks tensor '{prefix}embed_tokens.weight'" in refused(folder)


def test_a_missing_layer_is_named(folder):
    keep(folder, lambda name: ".layers.0." not in name)
    assert "lacks tensor 'model.layers.0." in refused(folder)


@pytest.mark.parametrize("prefix", ["", "language_model."])
def test_names_without_a_head_load(folder, tiny, prefix):
    """As AutoModel.save_pretrained writes them."""
    path = folder / "model.safetensors"
    save_file({prefix + k[6:]: v for k, v in load_file(path).items()}, path)
    for name, weight in flatten(load_model(folder)[1]).items():
        np.testing.assert_array_equal(weight, flatten(tiny.params)[name])


def test_mlx_is_named(folder):
    state(folder, quantization={"group_size": 64, "bits": 4})
    assert "is quantized by MLX" in refused(folder)


@pytest.mark.parametrize("method", ["awq", "gptq", "compressed-tensors"])
def test_quantizations_of_others_are_named(folder, method):
    state(folder, quantization_config={"quant_method": method})
    assert f"quantized by '{method}', which cannot be read" in refused(folder)


@pytest.mark.parametrize(
    ("file", "method"), [("quantize_config.json", "gptq"), ("quant_config.json", "awq")]
)
def test_quantizations_stated_in_a_file_of_their_own(folder, file, method):
    (folder / file).write_text("{}")
    assert f"is quantized by '{method}'" in refused(folder)


def test_flax_weights_are_named(folder):
    (folder / "model.safetensors").rename(folder / "flax_model.msgpack")
    assert "flax_model.msgpack holds weights of Flax" in refused(folder)


@pytest.mark.parametrize("with_config", [False, True])
def test_an_adapter_alone_is_named(folder, with_config):
    adapter = {"base_model_name_or_path": "google/gemma-3-1b-it"}
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    if not with_config:
        (folder / "config.json").unlink()
    assert "is a PEFT adapter of 'google/gemma-3-1b-it', not a" in refused(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf", "blob"])
def test_a_git_lfs_pointer_is_named(folder, name):
    (folder / name).write_bytes(LFS)
    assert "is a git-LFS pointer" in refused(folder / name)


def test_the_steps_of_a_training_are_named(tmp_path):
    for step in ("9", "10"):
        (tmp_path / step / "default").mkdir(parents=True)
        (tmp_path / step / "_CHECKPOINT_METADATA").touch()
        (tmp_path / step / "default" / "_METADATA").touch()
    assert f"2 training steps: name one, such as {tmp_path / '10'}." in refused(
        tmp_path
    )
